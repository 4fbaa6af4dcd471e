package openai

import (
	"io"
	"testing"
	"testing/iotest"

	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/recording"
)

func TestDecodeReproducesTheRecordings(t *testing.T) {
	for _, dir := range []string{"openai-chat", "openai-compat"} {
		t.Run(dir, func(t *testing.T) { recording.Run(t, dir, Decode) })
		t.Run(dir+" byte by byte", func(t *testing.T) {
			recording.Run(t, dir, func(body io.Reader) llm.Stream { return Decode(iotest.OneByteReader(body)) })
		})
	}
}
