package daemon

import (
	"os"
	"strings"
	"sync"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/secret"
)

// TakeEnvironment removes the credentials of the connection to NATS and the keys of
// providers from the environment of this process, and returns a function that looks
// variables up as [bus.Getenv] does, those too. Programs that the process starts
// later cannot inherit them.
func TakeEnvironment() func(name string) string {
	taken := map[string]string{}
	for _, pair := range os.Environ() {
		if name, value, _ := strings.Cut(pair, "="); secret.Own(name) {
			taken[name] = value
			_ = os.Unsetenv(name) // fails for names that no environment has
		}
	}
	var mu sync.Mutex
	return func(name string) string {
		mu.Lock()
		defer mu.Unlock()
		if !secret.Own(name) {
			if !strings.HasSuffix(name, "_API_KEY") {
				return bus.Getenv(name)
			}
			// The key of a provider that has a name of its own: it is known only now.
			for _, variable := range []string{name, name + "_FILE"} {
				if value, found := os.LookupEnv(variable); found {
					taken[variable] = value
					_ = os.Unsetenv(variable) // fails for names that no environment has
				}
			}
		}
		if v := taken[name]; v != "" {
			return secret.Clean(v)
		}
		return bus.ReadVariable(taken[name+"_FILE"])
	}
}

// Lookup returns the function that [Defaults] was given, or [bus.Getenv].
func (cfg Config) Lookup() func(name string) string {
	if cfg.getenv == nil {
		return bus.Getenv
	}
	return cfg.getenv
}

// LookupEnv looks up a variable as [os.LookupEnv] does, also one that
// [TakeEnvironment] has taken.
func (cfg Config) LookupEnv(name string) (value string, found bool) {
	if value, found := os.LookupEnv(name); found {
		return value, true
	}
	value = cfg.Lookup()(name)
	return value, value != ""
}

// learn adds the secrets of the configuration to those that are redacted.
func (cfg Config) learn() {
	getenv, s := cfg.Lookup(), cfg.Secrets
	s.Add(cfg.NATS.Token, cfg.NATS.Password)
	s.AddURL(cfg.NATS.URL)
	for _, name := range secret.Keys() {
		s.Add(getenv(name))
	}
	for _, name := range secret.URLs() {
		s.AddURL(getenv(name))
	}
	for _, file := range []string{cfg.NATS.Creds, cfg.NATS.NKey} {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // who connects with it says so
		}
		for line := range strings.Lines(string(raw)) {
			if line = strings.TrimSpace(line); !strings.ContainsAny(line, " -") {
				s.Add(line)
			}
		}
	}
}
