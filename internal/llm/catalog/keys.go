package catalog

import (
	"fmt"

	"github.com/parleybus/parley/internal/secret"
)

// cleaned returns getenv without what surrounds values by mistake.
func cleaned(getenv func(string) string) func(string) string {
	return func(name string) string { return secret.Clean(getenv(name)) }
}

// checkKeys returns the error of a key that no provider can take, with the name of its
// variable: later it would look like a broken network.
func checkKeys(getenv func(string) string) error {
	for _, name := range []string{"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GEMINI_API_KEY", "GOOGLE_API_KEY"} {
		if err := secret.Check(name, secret.Clean(getenv(name))); err != nil {
			return fmt.Errorf("a key is not usable: %w", err)
		}
	}
	return nil
}

// geminiKey returns the key of the Gemini API and the variable that it is in.
func geminiKey(getenv func(string) string) (variable, key string) {
	for _, variable := range []string{"GEMINI_API_KEY", "GOOGLE_API_KEY"} {
		if key := getenv(variable); key != "" {
			return variable, key
		}
	}
	return "", ""
}
