package anthropic

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/llm/conformance"
	"github.com/parleybus/parley/internal/llm/recording"
)

func TestDecodeIsTheSameHoweverTheTransportSplits(t *testing.T) {
	conformance.Decoder(t, Decode, fixtures())
}

func TestDecodeOfACutBodyKeepsItsBeginning(t *testing.T) {
	conformance.Cuts(t, Decode, fixtures())
}

func TestDecodeTakesLongLines(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	_, got := conformance.Read(t, Decode, strings.NewReader(sse(begin, textStart("0"), textDelta("0", long), finish("end_turn"), stop)))
	if got.Text != long || !got.Terminated {
		t.Errorf("%d bytes, terminated %v", len(got.Text), got.Terminated)
	}
}

func FuzzDecode(f *testing.F) {
	for _, body := range fixtures() {
		f.Add([]byte(body))
	}
	f.Add([]byte("data: {}{\"type\":\"content_block_delta\",\"index\":1}\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		a := recording.Collect(Decode(strings.NewReader(string(body))))
		if len(a.Broken) > 0 {
			t.Fatalf("the stream breaks rules: %s", a.Broken)
		}
	})
}
