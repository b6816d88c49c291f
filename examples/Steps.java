/** A generator and a map of remainders: java Steps [STEPS]. */
public class Steps {
    public static void main(String[] args) throws InterruptedException {
        int steps = args.length > 0 ? Integer.parseInt(args[0]) : 300;
        var count = new java.util.TreeMap<Long, Integer>();
        long x = 1;

        for (int step = 1; step <= steps; step++) {
            for (int i = 0; i < 20000; i++) {
                x = 16807 * x % 2147483647;
                count.merge(x % 100, 1, Integer::sum);
            }
            System.out.println(step + " " + x + " " + count.hashCode());
            Thread.sleep(95);
        }
        System.out.println("done " + steps + " " + x + " " + count.hashCode());
    }
}
