package anthropic

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/recording"
)

// lines decodes a body into its events as JSON.
func lines(t testing.TB, body io.Reader) string {
	t.Helper()
	var b strings.Builder
	for e, err := range Decode(body) {
		raw, encErr := events.Append(nil, e)
		if encErr != nil {
			t.Fatal(encErr)
		}
		fmt.Fprintf(&b, "%s %v\n", raw, err)
	}
	return b.String()
}

func TestDecodeIsTheSameHoweverTheTransportSplits(t *testing.T) {
	for name, body := range fixtures() {
		t.Run(name, func(t *testing.T) {
			want := lines(t, strings.NewReader(body))
			for i := range body {
				got := lines(t, io.MultiReader(strings.NewReader(body[:i]), strings.NewReader(body[i:])))
				if got != want {
					t.Fatalf("split at byte %d:\n%swant\n%s", i, got, want)
				}
			}
		})
	}
}

func TestDecodeOfACutBodyEndsWellOnlyAfterTheStopReason(t *testing.T) {
	for name, body := range fixtures() {
		t.Run(name, func(t *testing.T) {
			whole := recording.Collect(Decode(strings.NewReader(body)))
			last := strings.LastIndex(body, "}")
			for i := range body[:last] {
				a := recording.Collect(Decode(strings.NewReader(body[:i])))
				switch {
				case len(a.Broken) > 0:
					t.Fatalf("cut at byte %d breaks rules: %s", i, a.Broken)
				case a.End.Terminated, (a.End.Error == nil) != (a.End.FinishWord != ""), a.End.Error != nil && !a.End.Error.Retryable():
					t.Fatalf("cut at byte %d ends with %+v", i, a.End)
				case a.End.Error == nil && (a.Text != whole.Text || len(a.Calls) != len(whole.Calls)):
					t.Fatalf("cut at byte %d seems complete and says %q, %+v", i, a.Text, a.Calls)
				case !strings.HasPrefix(whole.Text, a.Text):
					t.Fatalf("cut at byte %d says %q", i, a.Text)
				}
			}
		})
	}
}

func TestDecodeStopsWhenTheConsumerDoes(t *testing.T) {
	for name, body := range fixtures() {
		t.Run(name, func(t *testing.T) {
			total := strings.Count(lines(t, strings.NewReader(body)), "\n")
			for n := 1; n <= total; n++ {
				seen := 0
				for range Decode(strings.NewReader(body)) {
					if seen++; seen == n {
						break
					}
				}
				if seen != n {
					t.Fatalf("%d events, want %d", seen, n)
				}
			}
		})
	}
}

func TestDecodeTakesLongLines(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	_, got := read(t, strings.NewReader(sse(begin, textStart("0"), textDelta("0", long), finish("end_turn"), stop)))
	if got.text != long || !got.terminated {
		t.Errorf("%d bytes, terminated %v", len(got.text), got.terminated)
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
