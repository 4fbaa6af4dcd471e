package openai

import (
	"testing"

	"github.com/parleybus/parley/internal/llm/recording"
)

func TestDecodeReproducesTheRecordings(t *testing.T) {
	for _, dir := range []string{"openai-chat", "openai-compat"} {
		t.Run(dir, func(t *testing.T) { recording.Run(t, dir, Decode) })
	}
}
