// Package meter measures what a benchmark costs: processor time and memory of this
// process, and how busy the machine is with others.
package meter

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Usage holds the processor usage of an interval.
type Usage struct {
	Wall   time.Duration
	CPU    time.Duration   // of this process, or of all of the benchmark
	Each   []time.Duration // of each process of the benchmark, where they are several
	Others float64         // share of the machine that other processes and the hypervisor used; -1 if unknown
}

// Share returns the share of the machine's processors that this process used.
func (c Usage) Share() float64 {
	return float64(c.CPU) / float64(c.Wall) / float64(runtime.NumCPU())
}

// Meter measures the usage of an interval.
type Meter struct {
	At   time.Time // its beginning
	cpu  time.Duration
	busy time.Duration
}

// Start begins an interval.
func Start() Meter {
	return Meter{At: time.Now(), cpu: CPU(), busy: machineBusy()}
}

// Stop returns the usage since the beginning; it may be called again.
func (m Meter) Stop() Usage {
	c := Usage{Wall: time.Since(m.At), CPU: CPU() - m.cpu, Others: -1}
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

// Load returns the machine's load average over a minute; empty if unknown.
func Load() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	load, _, _ := strings.Cut(string(raw), " ")
	return load
}
