// Pi from the Leibniz series, a million terms a step: exercise [STEPS]
#include <chrono>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <thread>

int main(int argc, char **argv)
{
    const long steps = argc > 1 ? std::atol(argv[1]) : 300;
    const long terms = 1000000;
    double sum = 0.0;

    std::cout << std::fixed << std::setprecision(15);
    for (long step = 1; step <= steps; step++) {
        for (long k = (step - 1) * terms; k < step * terms; k++)
            sum += (k % 2 ? -4.0 : 4.0) / (2.0 * k + 1.0);
        std::cout << "Step " << step << " pi " << sum << std::endl;
        std::this_thread::sleep_for(std::chrono::milliseconds(90));
    }
    std::cout << "done " << steps << " " << sum << std::endl;
    return 0;
}
