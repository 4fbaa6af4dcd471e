package ollama

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/llm/conformance"
	"github.com/parleybus/parley/internal/llm/recording"
)

func TestDecodeIsTheSameHoweverTheTransportSplits(t *testing.T) {
	conformance.Decoder(t, Decode, map[string]string{"thinking, text and two calls": twoCalls()})
}

func TestDecodeOfACutBodyKeepsItsBeginning(t *testing.T) {
	conformance.Cuts(t, Decode, map[string]string{"thinking, text and two calls": twoCalls()})
}

func TestDecodeTakesLongLines(t *testing.T) {
	long := strings.Repeat("x", 10<<20)
	_, got := conformance.Read(t, Decode, strings.NewReader(text(long)+done))
	if got.Text != long || !got.Terminated {
		t.Errorf("%d bytes, terminated %v", len(got.Text), got.Terminated)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(twoCalls()))
	f.Add([]byte(text("hi") + `{"error":"x"}`))
	f.Add([]byte(calls(`{"function":{"name":"add","arguments":"{"}}`)))
	f.Fuzz(func(t *testing.T, body []byte) {
		a := recording.Collect(Decode(strings.NewReader(string(body))))
		if len(a.Broken) > 0 {
			t.Fatalf("the stream breaks rules: %s", a.Broken)
		}
	})
}
