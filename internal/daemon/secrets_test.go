package daemon_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/tool/command"
)

// TestKeysLeaveTheEnvironment: and are found by the process that has taken them.
func TestKeysLeaveTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"NATS_URL": "nats://h:1", "NATS_TOKEN_FILE": file, "OPENAI_API_KEY": "sk-1", "ANTHROPIC_AUTH_TOKEN": "at", "SHOP_KEY": "shop", "ANTHROPIC_API_KEY": ""} {
		t.Setenv(name, value)
	}
	getenv := daemon.TakeEnvironment()
	left := strings.Join(os.Environ(), "\n")
	for _, name := range []string{"NATS_URL=", "NATS_TOKEN_FILE=", "OPENAI_API_KEY=", "ANTHROPIC_"} {
		if strings.Contains(left, name) {
			t.Errorf("%s is still in the environment", name)
		}
	}
	for name, want := range map[string]string{"NATS_URL": "nats://h:1", "NATS_TOKEN": "from-a-file", "OPENAI_API_KEY": "sk-1", "ANTHROPIC_AUTH_TOKEN": "at", "SHOP_KEY": "shop", "ANTHROPIC_API_KEY": "", "NATS_USER": ""} {
		if got := getenv(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	t.Setenv("LAB_API_KEY", " of-a-lab\n") // of a provider that has a name of its own
	for range 2 {
		if got, found := getenv("LAB_API_KEY"), os.Getenv("LAB_API_KEY"); got != "of-a-lab" || found != "" {
			t.Errorf("the lab's key is %q, and %q is left in the environment", got, found)
		}
	}
	cfg, err := daemon.Defaults(getenv)
	if err != nil || cfg.NATS.URL != "nats://h:1" || cfg.NATS.Token != "from-a-file" {
		t.Fatalf("%+v, %v", cfg.NATS, err)
	}
	for name, want := range map[string]string{"OPENAI_API_KEY": "sk-1", "SHOP_KEY": "shop"} {
		if got, found := cfg.LookupEnv(name); got != want || !found {
			t.Errorf("%s is %q for a tools file", name, got)
		}
	}
	if _, found := cfg.LookupEnv("NATS_USER"); found {
		t.Error("a variable that nobody has set is found")
	}
	for _, name := range []string{"NATS_URL", "NATS_PASSWORD_FILE", "OPENAI_API_KEY", "ANTHROPIC_AUTH_TOKEN"} {
		if _, err := (command.Env{Pass: []string{name}}).Resolve(); err == nil || !strings.Contains(err.Error(), `set: {`+name+`: "${`+name+`}"}`) {
			t.Errorf("a program that is passed %s: %v", name, err)
		}
	}
}

// TestTheLogKnowsEachSecretOfTheConfiguration: from variables, flags and files.
func TestTheLogKnowsEachSecretOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	creds, nkey := filepath.Join(dir, "c"), filepath.Join(dir, "n")
	if os.WriteFile(creds, []byte("-----BEGIN NATS USER JWT-----\neyJ0eXAiOiJKV1Qi.e30\n------END NATS USER JWT------\n\n*** IMPORTANT ***\n-----BEGIN USER NKEY SEED-----\nSUACREDSSEEDSEEDSEED\n------END USER NKEY SEED------\n"), 0o600) != nil ||
		os.WriteFile(nkey, []byte("SUANKEYFILESEEDSEED\n"), 0o600) != nil {
		t.Fatal("the files cannot be written")
	}
	env := map[string]string{"NATS_TOKEN": "token-of-nats", "NATS_PASSWORD": "password-of-nats", "NATS_NKEY": nkey, "OPENAI_API_KEY": "key-of-openai", "ANTHROPIC_API_KEY": "key-of-anthropic",
		"ANTHROPIC_AUTH_TOKEN": "token-of-anthropic", "OPENAI_BASE_URL": "https://u:password-of-base@h/v1?api-key=key-in-query", "HTTPS_PROXY": "http://u:password@of/proxy@h:1", "OLLAMA_HOST": "u:password-of-ollama@h"}
	cfg, err := daemon.Defaults(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	cfg.NATS.URL, cfg.NATS.Creds = "nats://user:password-in-url@h:1,nats://token-in-url@i:1", creds // as flags do
	for _, cfg.LogFormat = range []string{"text", "json"} {
		var out bytes.Buffer
		log, err := cfg.Logger(&out)
		if err != nil {
			t.Fatal(err)
		}
		all := []string{"token-of-nats", "password-of-nats", "key-of-openai", "key-of-anthropic", "token-of-anthropic", "password-of-base", "key-in-query", "password@of/proxy",
			"password-of-ollama", "password-in-url", "token-in-url", "eyJ0eXAiOiJKV1Qi.e30", "SUACREDSSEEDSEEDSEED", "SUANKEYFILESEEDSEED"}
		log.Info(strings.Join(all, " "), "all", all)
		for _, one := range all {
			if strings.Contains(out.String(), one) {
				t.Errorf("%s: %s is in the log", cfg.LogFormat, one)
			}
		}
		if !strings.Contains(out.String(), "redacted") {
			t.Errorf("%s: the log is %s", cfg.LogFormat, out.String())
		}
	}
}
