# Words counted in an array; the clock is a lasting child that says every step: awk -f steps.awk steps=STEPS
BEGIN {
    steps = ARGV[1] ? ARGV[1] : 300
    x = 1
    clock = "while sleep 0.5; do echo tick; done"
    for (step = 1; step <= steps; step++) {
        clock | getline tick
        for (i = 0; i < 20000; i++) {
            x = (16807 * x) % 2147483647
            count[x % 50]++
        }
        sum = 0
        for (i = 0; i < 50; i++)
            sum = (sum * 31 + count[i]) % 1000000007
        print step, x, sum
        fflush()
    }
    print "done", steps, x, sum
    close(clock)
}
