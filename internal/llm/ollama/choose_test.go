package ollama

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestChoose: the default is a model that can chat and call tools.
func TestChoose(t *testing.T) {
	for name, c := range map[string]struct {
		models     [][2]string // name, capabilities as JSON; "" for a server that refuses to show it
		want, says string
	}{
		"none":                           {nil, "", "ollama pull"},
		"only embeddings":                {[][2]string{{"nomic-embed-text", `["embedding"]`}}, "", "nomic-embed-text cannot chat"},
		"embeddings come first":          {[][2]string{{"nomic-embed-text", `["embedding"]`}, {"qwen3:8b", `["completion","tools"]`}}, "qwen3:8b", "nomic-embed-text cannot chat"},
		"tools are preferred":            {[][2]string{{"gemma", `["completion"]`}, {"qwen3", `["completion","tools"]`}}, "qwen3", "gemma cannot call tools"},
		"a chat without tools is better": {[][2]string{{"bert", `["embedding"]`}, {"gemma", `["completion","vision"]`}}, "gemma", "no model of it calls tools"},
		"an old server says nothing":     {[][2]string{{"mxbai-embed-large", `[]`}, {"llama3", `[]`}}, "llama3", "Ollama answers"},
		"a server that does not show":    {[][2]string{{"llama3", ""}}, "llama3", "Ollama answers"},
		"tools are preferred to silence": {[][2]string{{"llama3", ""}, {"qwen3", `["completion","tools"]`}}, "qwen3", "calls tools"},
	} {
		t.Run(name, func(t *testing.T) {
			p := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/api/tags" {
					var all []map[string]string
					for _, m := range c.models {
						all = append(all, map[string]string{"name": m[0]})
					}
					raw, _ := json.Marshal(map[string]any{"models": all}) // strings always encode
					_, _ = w.Write(raw)
					return
				}
				var asked struct{ Model string }
				_ = json.NewDecoder(r.Body).Decode(&asked)
				for _, m := range c.models {
					if m[0] == asked.Model && m[1] != "" {
						fmt.Fprintf(w, `{"capabilities":%s,"model_info":{"llama.context_length":8192}}`, m[1])
						return
					}
				}
				http.Error(w, `{"error":"no"}`, http.StatusNotFound)
			})
			got, why, err := p.Choose(t.Context())
			if err != nil || got != c.want || !strings.Contains(why, c.says) {
				t.Errorf("chosen %q (%s), %v; want %q (%s)", got, why, err, c.want, c.says)
			}
			if got != "" && c.models[0][1] != "" {
				if d, err := p.Describe(t.Context(), got); err != nil || d.Window != 8192 {
					t.Errorf("described as %+v, %v", d, err)
				}
			}
		})
	}
}
