// Four goroutines add up the terms of random sequences, which pass through channels: tally [STEPS]
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func work(seeds <-chan uint32, sums chan<- uint64) {
	for x := range seeds {
		sum := uint64(0)
		for i := 0; i < 1000; i++ {
			x = x*1664525 + 1013904223
			sum += uint64(x)
		}
		sums <- sum
	}
}

func main() {
	steps := 300
	if len(os.Args) > 1 {
		steps, _ = strconv.Atoi(os.Args[1])
	}
	seeds, sums := make(chan uint32), make(chan uint64)
	for worker := 0; worker < 4; worker++ {
		go work(seeds, sums)
	}
	total := uint64(0)
	for step := 1; step <= steps; step++ {
		go func() {
			for term := 0; term < 8; term++ {
				seeds <- uint32(step*8 + term)
			}
		}()
		for term := 0; term < 8; term++ {
			total += <-sums
		}
		fmt.Println(step, total)
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Println("done", steps, total)
}
