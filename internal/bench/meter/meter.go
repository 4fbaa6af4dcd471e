package bench

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// usage holds the processor usage of an interval.
type usage struct {
	Wall   time.Duration
	CPU    time.Duration   // of this process, or of all of the benchmark
	Each   []time.Duration // of each process of the benchmark, where they are several
	Others float64         // share of the machine that other processes and the hypervisor used; -1 if unknown
}

// share returns the share of the machine's processors that this process used.
func (c usage) share() float64 {
	return float64(c.CPU) / float64(c.Wall) / float64(runtime.NumCPU())
}

// costMeter measures the usage of an interval.
type costMeter struct {
	at   time.Time
	cpu  time.Duration
	busy time.Duration
}

func startMeter() costMeter {
	return costMeter{at: time.Now(), cpu: processCPU(), busy: machineBusy()}
}

func (m costMeter) stop() usage {
	c := usage{Wall: time.Since(m.at), CPU: processCPU() - m.cpu, Others: -1}
	if busy := machineBusy(); busy > 0 && m.busy > 0 {
		others := busy - m.busy - c.CPU
		c.Others = max(0, float64(others)/float64(c.Wall)/float64(runtime.NumCPU()))
	}
	return c
}

// machineBusy returns the time since boot for which the machine's processors were
// busy or stolen, from Linux's /proc/stat; 0 on other systems.
func machineBusy() time.Duration {
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

// loadAverage returns the machine's load average over a minute; empty if unknown.
func loadAverage() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	load, _, _ := strings.Cut(string(raw), " ")
	return load
}
