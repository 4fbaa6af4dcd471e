package catalog_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/secret"
)

func TestParseEndpoint(t *testing.T) {
	for text, want := range map[string]string{
		"lab=http://127.0.0.1:8000/v1": "lab http://127.0.0.1:8000/v1 LAB_API_KEY",
		" my-lab=\"https://h/v1\"\n":   "my-lab https://h/v1 MY_LAB_API_KEY",
		"groq":                         "groq https://api.groq.com/openai/v1 GROQ_API_KEY",
		"groq=http://h/v1":             "groq http://h/v1 GROQ_API_KEY",
		"gemini=http://h":              "error: take another name",
		"lab":                          "error: write lab=https://",
		"openai=http://h":              "error: take another name",
		"Lab=http://h":                 "error: lower-case",
		"a/b=http://h":                 "error: lower-case",
		"lab=h":                        "error: not a URL",
		"":                             "error: lower-case",
	} {
		e, err := catalog.ParseEndpoint(text)
		got := e.Name + " " + e.BaseURL + " " + e.KeyVariable()
		if err != nil {
			got = "error: " + err.Error()
		}
		if says, failing := strings.CutPrefix(want, "error: "); failing && (err == nil || !strings.Contains(got, says)) || !failing && got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}

// TestPresetsAreSecret: programs that Parley starts do not get the keys of presets.
func TestPresetsAreSecret(t *testing.T) {
	for _, p := range catalog.Presets() {
		if e, err := catalog.ParseEndpoint(p.Name + "=" + p.BaseURL); err != nil || !secret.Own(e.KeyVariable()) {
			t.Errorf("%s: %v, its key is secret: %v", p.Name, err, secret.Own(p.KeyVariable()))
		}
	}
}

// TestEndpointsByName: any number of servers, each with its own key, list their models.
func TestEndpointsByName(t *testing.T) {
	serve := func(key, list string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v1/models" || r.Header.Get("Authorization") != "Bearer "+key {
				http.Error(w, `{"error":"wrong key"}`, http.StatusUnauthorized)
				return
			}
			_, _ = w.Write([]byte(list))
		}))
		t.Cleanup(s.Close)
		return s.URL + "/v1/chat/completions"
	}
	yes, no, read, written, per := true, false, 0.5, 1.5, 3.0
	env := map[string]string{"OLLAMA_HOST": closed(t), "LAB_API_KEY": "one\n", "GROQ_API_KEY": "two", "OPENAI_BASE_URL": closed(t)}
	c, err := catalog.Open(t.Context(), catalog.Options{Getenv: func(k string) string { return env[k] }, Idle: time.Minute, Endpoints: []string{
		"lab=" + serve("one", `{"data":[{"id":"z","max_model_len":4096},{"id":"a/b","context_length":8192,"pricing":{"prompt":"0.0000005","completion":"0.0000015"},"supported_parameters":["tools"],"architecture":{"input_modalities":["text"]}},7,{"object":"x"}]}`),
		"groq=" + serve("two", `[{"id":"m","context_window":1,"pricing":{"input":3,"output":3},"capabilities":{"function_calling":false,"vision":true}}]`),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Default != "openai/gpt-5-mini" || !slices.Contains(c.Names(), "lab") {
		t.Errorf("the default is %s of %v", c.Default, c.Names())
	}
	for provider, want := range map[string][]catalog.Model{
		"lab":  {{Name: "lab/a/b", Window: 8192, Input: &read, Output: &written, Tools: &yes, Images: &no}, {Name: "lab/z", Window: 4096}},
		"groq": {{Name: "groq/m", Window: 1, Input: &per, Output: &per, Tools: &no, Images: &yes}},
	} {
		got, err := c.Models(t.Context(), provider)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", provider, err, diff)
		}
		if asked, err := c.Check(t.Context(), provider); !asked || err != nil {
			t.Errorf("%s is checked: %v, %v", provider, asked, err)
		}
	}
	env["LAB_API_KEY"] = "a b"
	if _, err := catalog.Open(t.Context(), catalog.Options{Getenv: func(k string) string { return env[k] }, Endpoints: []string{"lab=http://h"}}); err == nil || !strings.Contains(err.Error(), "LAB_API_KEY") {
		t.Errorf("a key with a space gives %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestGeminiListsItsModels by its own names and with its own way to refuse a key.
func TestGeminiListsItsModels(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1beta/models" || r.Header.Get("X-Goog-Api-Key") != "k" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}`))
			return
		}
		if r.URL.Query().Get("pageSize") != "1000" {
			t.Errorf("asked %s", r.URL)
		}
		_, _ = w.Write([]byte(`{"models":[{"name":"models/gemini-x","displayName":"X","inputTokenLimit":1048576,"supportedGenerationMethods":["generateContent","countTokens"]},{"name":"models/embedding-x","supportedGenerationMethods":["embedContent"]}]}`))
	}))
	t.Cleanup(s.Close)
	for key, refused := range map[string]bool{"k": false, "wrong": true} {
		env := map[string]string{"OLLAMA_HOST": closed(t), "GOOGLE_API_KEY": key, "GEMINI_BASE_URL": s.URL}
		c, err := catalog.Open(t.Context(), catalog.Options{Getenv: func(k string) string { return env[k] }, Idle: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Models(t.Context(), "gemini")
		if diff := cmp.Diff([]catalog.Model{{Name: "gemini/gemini-x", Window: 1048576}}, got); !refused && (err != nil || diff != "") || refused && err == nil {
			t.Errorf("with the key %s: %v (-want +got)\n%s", key, err, diff)
		}
		asked, err := c.Check(t.Context(), "gemini")
		if !asked || errors.Is(err, catalog.ErrKeyRefused) != refused || refused && !strings.Contains(err.Error(), "correct GOOGLE_API_KEY") {
			t.Errorf("the key %s is checked: %v, %v", key, asked, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
