# Words counted in an array; all output goes through a lasting child: awk -f steps.awk STEPS
BEGIN {
    steps = ARGV[1] ? ARGV[1] : 300
    x = 1
    out = "cat"
    for (step = 1; step <= steps; step++) {
        for (i = 0; i < 20000; i++) {
            x = (16807 * x) % 2147483647
            count[x % 50]++
        }
        sum = 0
        for (i = 0; i < 50; i++)
            sum = (sum * 31 + count[i]) % 1000000007
        print step, x, sum | out
        fflush(out)
        system("sleep 0.5")
    }
    print "done", steps, x, sum | out
    close(out)
}
