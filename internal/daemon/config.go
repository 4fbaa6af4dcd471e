package daemon

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/secret"
	"github.com/parleybus/parley/internal/topology"
)

// Config is the configuration of all binaries, from flags and environment. A
// flag overrides its variable, a variable overrides the default. Use Defaults
// to fill in a zero value.
type Config struct {
	NATS bus.Config
	// Name identifies this process within its role; letters, digits, _ and -.
	Name string
	// HTTP is the address of /healthz, /readyz and /metrics; empty disables them.
	HTTP string
	// LogLevel is debug, info, warn or error; LogFormat is text or json.
	LogLevel, LogFormat string
	// Drain is how long running calls may continue after a stop signal.
	Drain time.Duration
	// Plan is the plan of the deployment, for processes that set it up.
	Plan topology.Plan
	// Models are the default models by full name ("openai/gpt-5-mini"), at most one
	// per provider. Script is a file for the scripted provider.
	Models []string
	Script string
	// NoTools and NoToolStream are patterns of full names: models that cannot call
	// tools, and models that can call tools only without streaming.
	NoTools, NoToolStream []string
	// NoImages are patterns of full names: models that take no images.
	NoImages []string
	// TellReasoning sends the reasoning of other models as text after a change of the
	// model.
	TellReasoning bool
	// Providers are servers of OpenAI's Chat Completions: NAME=URL, or a known name.
	Providers []string
	// Idle is how long a model may send nothing before its answer counts as
	// stalled.
	Idle time.Duration
	// MCPWait is how long a start waits for the tools of MCP servers.
	MCPWait time.Duration
	// Slots bounds the concurrent jobs per queue: generations of a route, calls of
	// a tool.
	Slots int
	// MaxCalls bounds the concurrent calls of all tools of a worker; 0 means no
	// bound.
	MaxCalls int
	// AllowHosts are the hosts that http_get may reach. Root is the directory that
	// read_file may read.
	AllowHosts []string
	Root       string
	// ToolsFile is a tools.yaml: commands, HTTP endpoints and MCP servers.
	ToolsFile string
	// Logins is the directory of the logins at MCP servers; empty if there is none.
	Logins string
	// ToolsOptional says that ToolsFile need not exist.
	ToolsOptional bool
	// Rules is a file with the policy, limits, prices and hooks that apply unless a
	// conversation's Settings override them.
	Rules string
	// Secrets are removed from events, logs and errors.
	Secrets *secret.Set

	getenv func(string) string // see [Config.Lookup]
}

// Defaults returns the configuration from the environment.
func Defaults(getenv func(string) string) (Config, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	cfg := Config{
		Secrets: &secret.Set{}, getenv: getenv,
		NATS:     bus.Environment(getenv),
		Name:     Token(host + "-" + strconv.Itoa(os.Getpid())),
		HTTP:     getenv("PARLEY_HTTP"),
		LogLevel: getenv("PARLEY_LOG_LEVEL"), LogFormat: getenv("PARLEY_LOG_FORMAT"),
		Script: getenv("PARLEY_SCRIPT"), Root: getenv("PARLEY_ROOT"), Rules: getenv("PARLEY_RULES"), ToolsFile: getenv("PARLEY_TOOLS"),
		Logins:  logins(getenv),
		NoTools: list(getenv("PARLEY_NO_TOOLS")), NoToolStream: list(getenv("PARLEY_NO_TOOL_STREAM")), NoImages: list(getenv("PARLEY_NO_IMAGES")),
		Providers: list(getenv("PARLEY_PROVIDERS")),
		Models:    list(getenv("PARLEY_MODEL")), AllowHosts: list(getenv("PARLEY_ALLOW_HOST")),
	}
	var problems []string
	number := func(name string, into *int) {
		if v := getenv(name); v != "" {
			if *into, err = strconv.Atoi(v); err != nil {
				problems = append(problems, fmt.Sprintf("%s=%q is not a number", name, v))
			}
		}
	}
	if v := getenv("PARLEY_TELL_REASONING"); v != "" {
		if cfg.TellReasoning, err = strconv.ParseBool(v); err != nil {
			problems = append(problems, fmt.Sprintf("PARLEY_TELL_REASONING=%q is not true or false", v))
		}
	}
	duration := func(name string, into *time.Duration, def time.Duration) {
		*into = def
		if v := getenv(name); v != "" {
			if *into, err = time.ParseDuration(v); err != nil {
				problems = append(problems, fmt.Sprintf("%s=%q is not a duration such as 10s", name, v))
			}
		}
	}
	number("PARLEY_SHARDS", &cfg.Plan.Shards)
	number("PARLEY_REPLICAS", &cfg.Plan.Replicas)
	number("PARLEY_SLOTS", &cfg.Slots)
	number("PARLEY_MAX_CALLS", &cfg.MaxCalls)
	duration("PARLEY_MAX_AGE", &cfg.Plan.MaxAge, 0)
	duration("PARLEY_HISTORY_MAX_AGE", &cfg.Plan.HistoryMaxAge, 0)
	duration("PARLEY_OBJECTS_MAX_AGE", &cfg.Plan.ObjectsMaxAge, 0)
	bytes := func(name string, into *int64) {
		if v := getenv(name); v != "" {
			if err := (*size)(into).Set(v); err != nil {
				problems = append(problems, fmt.Sprintf("%s: %v", name, err))
			}
		}
	}
	bytes("PARLEY_MAX_BYTES", &cfg.Plan.MaxBytes)
	bytes("PARLEY_HISTORY_MAX_BYTES", &cfg.Plan.HistoryMaxBytes)
	bytes("PARLEY_OBJECTS_MAX_BYTES", &cfg.Plan.ObjectsMaxBytes)
	duration("PARLEY_DRAIN", &cfg.Drain, 10*time.Second)
	duration("PARLEY_IDLE", &cfg.Idle, 2*time.Minute)
	duration("PARLEY_MCP_WAIT", &cfg.MCPWait, 10*time.Second)
	cfg.learn()
	if len(problems) > 0 {
		return cfg, fmt.Errorf("environment: %s", strings.Join(problems, "; "))
	}
	return cfg, nil
}

// logins is the directory of the logins at MCP servers, by default in the user's
// configuration directory; empty if there is none.
func logins(getenv func(string) string) string {
	if dir := getenv("PARLEY_LOGINS"); dir != "" {
		return dir
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "parley", "logins")
}

func list(s string) []string {
	var out []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// Token makes a name valid as a token of a subject: it replaces invalid
// characters by dashes.
func Token(name string) string {
	b := []byte(name)
	for i, c := range b {
		if topology.CheckToken("", string(c)) != nil {
			b[i] = '-'
		}
	}
	if len(b) > 60 {
		b = b[len(b)-60:]
	}
	return string(b)
}

// Connection adds the flags of the connection to NATS.
func (cfg *Config) Connection(f *pflag.FlagSet) {
	f.StringVar(&cfg.NATS.URL, "nats", cfg.NATS.URL, "URL of the NATS server (NATS_URL)")
	f.StringVar(&cfg.NATS.Creds, "creds", cfg.NATS.Creds, "credentials file (NATS_CREDS)")
}

// Logging adds the flags of the log.
func (cfg *Config) Logging(f *pflag.FlagSet) {
	f.StringVar(&cfg.LogLevel, "log-level", cmp.Or(cfg.LogLevel, "info"), "debug, info, warn or error (PARLEY_LOG_LEVEL)")
	f.StringVar(&cfg.LogFormat, "log-format", cmp.Or(cfg.LogFormat, "text"), "text or json (PARLEY_LOG_FORMAT)")
}

// Service adds the flags of a long-running process.
func (cfg *Config) Service(f *pflag.FlagSet) {
	f.StringVar(&cfg.Name, "name", cfg.Name, "name of this process among others of its role")
	f.StringVar(&cfg.HTTP, "http", cfg.HTTP, "address for /healthz, /readyz and /metrics, such as :8080 (PARLEY_HTTP)")
	f.DurationVar(&cfg.Drain, "drain-timeout", cfg.Drain, "how long running calls may continue after a stop signal (PARLEY_DRAIN)")
}

// Layout adds the flags of a process that sets a deployment up.
func (cfg *Config) Layout(f *pflag.FlagSet) {
	f.IntVar(&cfg.Plan.Shards, "shards", cfg.Plan.Shards, "shards of a new deployment, which cannot change later; 1 when 0 (PARLEY_SHARDS)")
	f.IntVar(&cfg.Plan.Replicas, "stream-replicas", cfg.Plan.Replicas, "replicas of each stream; 1 when 0 (PARLEY_REPLICAS)")
	f.DurationVar(&cfg.Plan.MaxAge, "max-age", cfg.Plan.MaxAge, "how long token streams are kept; 7 days when 0 (PARLEY_MAX_AGE)")
	f.DurationVar(&cfg.Plan.HistoryMaxAge, "history-max-age", cfg.Plan.HistoryMaxAge, "how long messages, decisions and results are kept; until deleted when 0 (PARLEY_HISTORY_MAX_AGE)")
	f.DurationVar(&cfg.Plan.ObjectsMaxAge, "objects-max-age", cfg.Plan.ObjectsMaxAge, "how long objects are kept; until deleted when 0 (PARLEY_OBJECTS_MAX_AGE)")
	f.Var((*size)(&cfg.Plan.MaxBytes), "max-bytes", "how much the token streams of all shards hold, such as 20GiB: beyond it the oldest are removed; no bound when 0 (PARLEY_MAX_BYTES)")
	f.Var((*size)(&cfg.Plan.HistoryMaxBytes), "history-max-bytes", "how much HISTORY holds: beyond it the oldest facts are removed; no bound when 0 (PARLEY_HISTORY_MAX_BYTES)")
	f.Var((*size)(&cfg.Plan.ObjectsMaxBytes), "objects-max-bytes", "how much the object store holds: beyond it new objects are refused; no bound when 0 (PARLEY_OBJECTS_MAX_BYTES)")
}

// Deciding adds the flags of an orchestrator.
func (cfg *Config) Deciding(f *pflag.FlagSet) {
	f.StringVar(&cfg.Rules, "rules", cfg.Rules, "YAML file with the policy, limits, prices, pools of models and hooks of the deployment (PARLEY_RULES)")
}

// Generating adds the flags of a process that calls models.
func (cfg *Config) Generating(f *pflag.FlagSet) {
	f.StringSliceVar(&cfg.Models, "model", cfg.Models, "provider/model or a pool of the --rules, used by default (PARLEY_MODEL)")
	f.StringSliceVar(&cfg.Providers, "provider", cfg.Providers, "NAME=URL of a server compatible with OpenAI, or a known name such as groq; its key is in NAME_API_KEY (PARLEY_PROVIDERS)")
	f.StringVar(&cfg.Script, "script", cfg.Script, "YAML script for the scripted provider (PARLEY_SCRIPT)")
	f.StringSliceVar(&cfg.NoTools, "no-tools", cfg.NoTools, "patterns of models that cannot call tools, such as ollama/gemma* (PARLEY_NO_TOOLS)")
	f.StringSliceVar(&cfg.NoToolStream, "no-tool-stream", cfg.NoToolStream, "patterns of models to call without streaming when tools are offered (PARLEY_NO_TOOL_STREAM)")
	f.StringSliceVar(&cfg.NoImages, "no-images", cfg.NoImages, "patterns of models that take no images (PARLEY_NO_IMAGES)")
	f.BoolVar(&cfg.TellReasoning, "tell-reasoning", cfg.TellReasoning, "send reasoning of other models as text instead of leaving it out (PARLEY_TELL_REASONING)")
	f.DurationVar(&cfg.Idle, "idle-timeout", cfg.Idle, "how long a model may send nothing (PARLEY_IDLE)")
}

// Working adds the flags of a process that runs jobs.
func (cfg *Config) Working(f *pflag.FlagSet) {
	f.IntVar(&cfg.Slots, "slots", cfg.Slots, "jobs that run at once, per queue; 0 for the default (PARLEY_SLOTS)")
}

// Calling adds the flags of a process that runs tools.
func (cfg *Config) Calling(f *pflag.FlagSet) {
	f.StringSliceVar(&cfg.AllowHosts, "allow-host", cfg.AllowHosts, "hosts that http_get may reach (PARLEY_ALLOW_HOST)")
	f.IntVar(&cfg.MaxCalls, "max-calls", cfg.MaxCalls, "calls of all tools together that run at once; 0 for no bound (PARLEY_MAX_CALLS)")
	f.StringVar(&cfg.ToolsFile, "tools-file", cfg.ToolsFile, "YAML file with commands, HTTP endpoints and MCP servers to serve as tools (PARLEY_TOOLS)")
	f.StringVar(&cfg.Logins, "logins", cfg.Logins, "directory of the logins at MCP servers (PARLEY_LOGINS)")
	f.DurationVar(&cfg.MCPWait, "mcp-wait", cfg.MCPWait, "how long the start waits for the tools of MCP servers (PARLEY_MCP_WAIT)")
	f.StringVar(&cfg.Root, "root", cfg.Root, "directory that read_file may read (PARLEY_ROOT)")
}
