package bus

import "time"

// skewLeast is what two clocks may differ by before it matters, besides the time
// that the measurement took.
const skewLeast = 100 * time.Millisecond

// Now is the time by the server's clock, as measured by the last request for a
// stream's info. Deadlines and timers are kept by it: they outlive the process that set
// them, and the next owner may run on a machine whose clock differs.
func (b *Bus) Now() time.Time { return time.Now().Add(time.Duration(b.skew.Load())) }

// measure records the server's clock from an answer that took from asked until now.
func (b *Bus) measure(server, asked time.Time) {
	if server.IsZero() {
		return
	}
	took := time.Since(asked)
	skew := server.Sub(asked.Add(took / 2))
	if skew.Abs() < max(took, skewLeast) {
		skew = 0
	}
	b.skew.Store(int64(skew))
}
