package llm_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/llm"
)

func TestBaseURL(t *testing.T) {
	endpoints := []string{"/chat/completions", "/responses", "/models"}
	for given, want := range map[string]string{
		"":                                     "",
		" http://h/v1\n":                       "http://h/v1",
		"http://h/v1///":                       "http://h/v1",
		"http://h/v1/chat/completions":         "http://h/v1",
		"http://h/v1/chat/completions/?x=1":    "http://h/v1?x=1",
		"http://h/v1/responses/":               "http://h/v1",
		"http://h/api/v3":                      "http://h/api/v3",
		"http://models":                        "http://models",
		"http://h/":                            "http://h",
		"https://h/deployments/models/gpt/v1/": "https://h/deployments/models/gpt/v1",
	} {
		if got := llm.BaseURL(given, endpoints...); got != want {
			t.Errorf("%q gives %q, want %q", given, got, want)
		}
	}
}

// TestARefusalOfTheURLNamesIt: without the URL nobody finds the mistake in it.
func TestARefusalOfTheURLNamesIt(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		kind   string
		named  bool
	}{
		"not found":   {404, "application/json", true},
		"method":      {405, "text/plain", true},
		"a web page":  {200, "text/html", true},
		"gone":        {410, "text/plain", true},
		"bad request": {400, "application/json", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.kind)
				w.WriteHeader(c.status)
			}))
			defer s.Close()
			_, refused := llm.Post(t.Context(), s.Client(), s.URL+"/wrong/chat?key=hidden", nil, []byte("{}"))
			if refused == nil {
				t.Fatal("it is not refused")
			}
			if got := strings.Contains(refused.Message, s.URL+"/wrong/chat"); got != c.named || strings.Contains(refused.Message, "hidden") {
				t.Errorf("the message is %q", refused.Message)
			}
		})
	}
}
