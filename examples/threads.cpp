// Four threads that wait for each other after every step: threads [STEPS]
#include <array>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <thread>
#include <vector>

int main(int argc, char **argv)
{
    const int steps = argc > 1 ? std::atoi(argv[1]) : 300;
    std::array<std::uint64_t, 4> x = {1, 2, 3, 4};
    std::uint64_t total = 0;
    int step = 0;

    std::barrier meet(x.size(), [&]() noexcept {
        for (auto value : x)
            total = total * 31 + value;
        std::cout << ++step << " " << total << "\n";
    });
    std::vector<std::thread> threads;
    for (auto &value : x)
        threads.emplace_back([&meet, &value, steps] {
            for (int s = 0; s < steps; s++) {
                for (int i = 0; i < 500000; i++)
                    value = value * 6364136223846793005u + 1442695040888963407u;
                std::this_thread::sleep_for(std::chrono::milliseconds(95));
                meet.arrive_and_wait();
            }
        });
    for (auto &thread : threads)
        thread.join();
    std::cout << "done " << steps << " " << total << "\n";
}
