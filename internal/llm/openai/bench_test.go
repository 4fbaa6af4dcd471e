package openai

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// chunks is a stream of n deltas as OpenAI sends them.
func chunks(n int, delta string) []byte {
	var b bytes.Buffer
	for i := range n {
		d := strings.ReplaceAll(delta, "N", fmt.Sprint(i))
		fmt.Fprintf(&b, `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m-1","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":%s,"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"abcdefgh"}`+"\n\n", d)
	}
	b.WriteString("data: [DONE]\n\n")
	return b.Bytes()
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct{ name, delta string }{
		{"text", `{"content":" word"}`},
		{"reasoning", `{"reasoning_content":" thought"}`},
		{"arguments", `{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"f","arguments":"xy"}}]}`},
		{"parallel calls", `{"tool_calls":[{"index":N,"id":"call_N","function":{"name":"f","arguments":"{}"}}]}`},
		{"reasoning details", `{"reasoning":"abc","reasoning_details":[{"type":"reasoning.text","index":0,"text":"abc"}]}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			const n = 10_000
			body := chunks(n, c.delta)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				for range Decode(bytes.NewReader(body)) {
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/chunk")
		})
	}
}
