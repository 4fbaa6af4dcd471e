package offer

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// Strangers may announce as many workers of one name as they like.
func BenchmarkResolve(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var all []Dated
			for i := range n {
				all = append(all, from(fmt.Sprintf("w%d", i), uint64(n-i), hammer(events.EffectPure, fmt.Sprintf(`{"n":%d}`, i))))
			}
			known := &Known{Tool: hammer(events.EffectOnce, a)}
			for b.Loop() {
				Resolve(known, all, "")
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/offer")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range []int{1 << 10, 1 << 14, MaxBytes - 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			nested := make([]byte, 0, n)
			for range min(n/12, 4_000) {
				nested = append(nested, `{"a":[`...)
			}
			nested = append(nested, '1')
			for range min(n/12, 4_000) {
				nested = append(nested, `]}`...)
			}
			spec := hammer(events.EffectPure, string(nested))
			record, err := json.Marshal(Offer{Kind: Tool, Name: "hammer", Worker: "w", Tool: &spec})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(record)))
			for b.Loop() {
				if _, err := Decode("tool.hammer.w", record); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
