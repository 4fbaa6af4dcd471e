package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// benchCost is what a stretch of time cost.
type benchCost struct {
	Wall   time.Duration
	CPU    time.Duration // of this process
	Others float64       // share of the machine that other processes and the hypervisor took; -1 where it is not known
}

// share is the part of the machine's processors that this process took.
func (c benchCost) share() float64 {
	return float64(c.CPU) / float64(c.Wall) / float64(runtime.NumCPU())
}

// benchMeter measures a stretch of time.
type benchMeter struct {
	at   time.Time
	cpu  time.Duration
	busy time.Duration
}

func startBenchMeter() benchMeter {
	return benchMeter{at: time.Now(), cpu: benchCPU(), busy: benchBusy()}
}

func (m benchMeter) stop() benchCost {
	c := benchCost{Wall: time.Since(m.at), CPU: benchCPU() - m.cpu, Others: -1}
	if busy := benchBusy(); busy > 0 && m.busy > 0 {
		others := busy - m.busy - c.CPU
		c.Others = max(0, float64(others)/float64(c.Wall)/float64(runtime.NumCPU()))
	}
	return c
}

// benchBusy is the time that the machine's processors have been busy or stolen
// since it was started, from Linux's /proc/stat; 0 elsewhere.
func benchBusy() time.Duration {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0
	}
	var ticks int64
	for _, i := range []int{1, 2, 3, 6, 7, 8} { // user nice system irq softirq steal
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100)
}

// benchLoad is the machine's load average over a minute; empty where the system
// does not say.
func benchLoad() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	load, _, _ := strings.Cut(string(raw), " ")
	return load
}
