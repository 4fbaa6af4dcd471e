package topology_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

const (
	conversation = "0198c0de-0000-7000-8000-000000000001"
	call         = "0198c0de-0000-7000-8000-00000000000c"
)

func TestSubjects(t *testing.T) {
	for want, a := range map[string]topology.Address{
		"conv.0." + conversation + ".in":           topology.At(1, conversation, events.ChannelIn),
		"conv.3." + conversation + ".turn":         topology.At(8, conversation, events.ChannelTurn),
		"conv.3." + conversation + ".gen":          topology.At(8, conversation, events.ChannelGen),
		"conv.3." + conversation + ".call." + call: topology.OfCall(8, conversation, events.ChannelCall, call),
		"conv.0." + conversation + ".out." + call:  topology.OfCall(0, conversation, events.ChannelOut, call),
	} {
		t.Run(want, func(t *testing.T) {
			if got := a.Subject(topology.Conv); got != want {
				t.Errorf("subject %s", got)
			}
			if err := a.Check(); err != nil {
				t.Error(err)
			}
			for _, log := range []topology.Log{topology.Conv, topology.Live, topology.History} {
				back, err := topology.Parse(a.Subject(log))
				if err != nil || back != a {
					t.Errorf("%s reads back as %+v, %v", a.Subject(log), back, err)
				}
			}
		})
	}
	if got := topology.Everything(topology.Live, 8, conversation); got != "live.3."+conversation+".>" {
		t.Errorf("everything: %s", got)
	}
}

func TestInvalidSubjects(t *testing.T) {
	good := "conv.0." + conversation
	for _, s := range []string{
		"", ".", "conv", good, good + ".", good + ".in.", good + ".in." + call, good + ".call", good + ".call.", good + ".call.x",
		good + ".out.*", good + ".nothing", good + ".>", good + ".*", "conv.-1." + conversation + ".in", "conv.x." + conversation + ".in",
		"conv.0.*.in", "conv.0.>.in", "conv.0." + strings.ToUpper(conversation) + ".in", "conv..." + conversation + ".in",
		good + ".call." + call + ".x", "conv.0." + strings.Repeat("a", 10<<10) + ".in", good + ".\x00\xff" + strings.Repeat("x", 10<<10),
	} {
		if a, err := topology.Parse(s); !errors.Is(err, topology.ErrBadID) || len(err.Error()) > 400 {
			t.Errorf("%.60q is %+v, %v", s, a, err)
		}
	}
}

func TestHostileNames(t *testing.T) {
	for name, s := range map[string]string{
		"empty": "", "a dot": "a.b", "a wildcard": "*", "all": ">", "a space": "a b", "a newline": "a\nb", "10 kB": strings.Repeat("a", 10<<10),
		"a slash": "a/b", "not ASCII": "naïve", "not UTF-8": "\xff", "a dollar": "$JS", "a NUL": "a\x00",
	} {
		t.Run(name, func(t *testing.T) {
			_, one := topology.ToolQueue(s)
			_, two := topology.ToolJob(s, call)
			_, three := topology.ToolJob("clock", s)
			_, four := topology.GenerationJob("scripted/m", s)
			five, six := topology.CheckID("call", s), topology.CheckToken("tool", s)
			seven := topology.At(1, s, events.ChannelIn).Check()
			for i, err := range []error{one, two, three, four, five, six, seven} {
				if !errors.Is(err, topology.ErrBadID) || len(err.Error()) > 300 || strings.Contains(err.Error(), "\n") {
					t.Errorf("check %d: %v", i+1, err)
				}
			}
		})
	}
	for _, s := range []string{strings.ToUpper(conversation), conversation[:35], conversation + "0", strings.ReplaceAll(conversation, "-", "0"), "{" + conversation[2:] + "}"} {
		if err := topology.CheckID("conversation", s); !errors.Is(err, topology.ErrBadID) {
			t.Errorf("%q passes", s)
		}
	}
}

func TestTheErrorOfABadIDNamesTheFault(t *testing.T) {
	for id, want := range map[string]string{
		strings.ToUpper(conversation): "upper-case letters: write it as " + conversation,
		conversation[:8]:              "only 8 of the 36 characters",
		conversation[:35]:             "only 35 of the 36",
		"chat42":                      "is not a UUID such as 0198c0de-",
		"":                            "is not a UUID",
	} {
		if err := topology.CheckID("conversation", id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", id, err, want)
		}
	}
}

func TestWaitingSubjects(t *testing.T) {
	if got := topology.Timer(8, conversation); got != "timer.3."+conversation+".next" {
		t.Error(got)
	}
	due := topology.Due(8, conversation)
	shard, id, err := topology.ParseDue(due)
	if due != "due.3."+conversation || shard != 3 || id != conversation || err != nil || topology.DueOf(shard) != "due.3.*" {
		t.Errorf("%s is of %d, %s, %v", due, shard, id, err)
	}
	for _, s := range []string{due, topology.Timer(8, conversation), topology.Timer(0, conversation)} {
		if got, err := topology.ConversationOf(s); got != conversation || err != nil {
			t.Errorf("%s is of %q, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", ".", "due", "due.3", "due..", "due.3.*", "due.3.>", "due.-1." + conversation, "due.x." + conversation, "due.03." + conversation, "due.+3." + conversation,
		due + ".x", due + ".", strings.ToUpper(due), "timer.3." + conversation, "conv.3." + conversation, "due.3." + strings.Repeat("a", 10<<10), "due.\xff." + conversation,
	} {
		if _, _, err := topology.ParseDue(s); !errors.Is(err, topology.ErrBadID) || len(err.Error()) > 400 {
			t.Errorf("%.60q: %v", s, err)
		}
	}
	for _, s := range []string{"", "timer", "timer.0", "timer.0.x.next", "conv.0." + conversation + ".in", "jobs.0." + conversation} {
		if got, err := topology.ConversationOf(s); !errors.Is(err, topology.ErrBadID) {
			t.Errorf("%q is of %q, %v", s, got, err)
		}
	}
}

func TestHookSubjects(t *testing.T) {
	for when, want := range map[events.HookTime]string{events.HookBefore: "hooks.before.tone_2", events.HookAfter: "hooks.after.tone_2"} {
		if got, err := topology.HookSubject(when, "tone_2"); got != want || err != nil {
			t.Errorf("%s, %v", got, err)
		}
		for _, bad := range []string{"", "a.b", "*", ">", "a b", "a\nb", strings.Repeat("a", 65)} {
			if _, err := topology.HookSubject(when, bad); !errors.Is(err, topology.ErrBadID) || len(err.Error()) > 300 {
				t.Errorf("%q: %v", bad, err)
			}
		}
	}
	for _, when := range []events.HookTime{"", "during", "Before", "*", ">", "before.x"} {
		if _, err := topology.HookSubject(when, "tone"); !errors.Is(err, topology.ErrBadID) {
			t.Errorf("%q: %v", when, err)
		}
	}
}

func TestJobSubjects(t *testing.T) {
	for want, got := range map[string]func() (string, error){
		"jobs.llm.ollama." + call:     func() (string, error) { return topology.GenerationJob("ollama/llama3.2:1b", call) },
		"jobs.llm.scripted." + call:   func() (string, error) { return topology.GenerationJob("scripted", call) },
		"jobs.tool.read_file." + call: func() (string, error) { return topology.ToolJob("read_file", call) },
		"llm_ollama jobs.llm.ollama.*": func() (string, error) {
			q, err := topology.LLMQueue("ollama/x/y")
			return q.Consumer + " " + q.Filter, err
		},
		"tool_clock jobs.tool.clock.*": func() (string, error) {
			q, err := topology.ToolQueue("clock")
			return q.Consumer + " " + q.Filter, err
		},
	} {
		if s, err := got(); err != nil || s != want {
			t.Errorf("%s, %v; want %s", s, err, want)
		}
	}
	if got := topology.DeadSubject("jobs.tool.clock.x"); got != "dead.jobs.tool.clock.x" {
		t.Error(got)
	}
	if got := topology.DeadSubject(strings.Repeat("a.", 10<<10)); len(got) > 520 || strings.HasSuffix(got, ".") {
		t.Errorf("%d bytes, ends in %q", len(got), got[len(got)-1:])
	}
}

func TestQueuesAreFoundByTheirNames(t *testing.T) {
	for name, subject := range map[string]string{
		"llm_ollama":    "jobs.llm.ollama." + call,
		"tool_a_b-c":    "jobs.tool.a_b-c." + call,
		"toollow_clock": "jobs.tool.clock.low." + call,
	} {
		q, err := topology.QueueNamed(name)
		if err != nil || q.Consumer != name || q.Subject(call) != subject || topology.JobID(subject) != call {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
		if of, err := topology.QueueOf(subject); err != nil || of != q {
			t.Errorf("%s is of the queue %+v, %v", subject, of, err)
		}
	}
	for _, subject := range []string{"", "jobs", "jobs.llm.x", "jobs.tool.x.high." + call, "jobs.other.x." + call, "conv.0." + call + ".in"} {
		if q, err := topology.QueueOf(subject); !errors.Is(err, topology.ErrBadID) {
			t.Errorf("%q is of the queue %+v, %v", subject, q, err)
		}
	}
	for _, name := range []string{"", "llm", "llm_", "llm_a/b", "tool_a.b", "other_x", "tool_*"} {
		if q, err := topology.QueueNamed(name); !errors.Is(err, topology.ErrBadID) {
			t.Errorf("%q is parsed as %+v, %v", name, q, err)
		}
	}
}

// A conversation never changes its shard: these values must never change.
func TestShardOfIsFixed(t *testing.T) {
	for id, want := range map[string][3]int{ // of 3, 8 and 16 shards
		conversation:                           {0, 3, 3},
		"0198c0de-0000-7000-8000-000000000002": {2, 6, 6},
		"0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000": {2, 0, 0},
		"ffffffff-ffff-7fff-bfff-ffffffffffff": {0, 0, 8},
	} {
		if got := [3]int{topology.ShardOf(id, 3), topology.ShardOf(id, 8), topology.ShardOf(id, 16)}; got != want {
			t.Errorf("%s is on %v, want %v", id, got, want)
		}
		for _, n := range []int{-1, 0, 1} {
			if got := topology.ShardOf(id, n); got != 0 {
				t.Errorf("%s of %d shards is on %d", id, n, got)
			}
		}
	}
}

func TestStreams(t *testing.T) {
	streams := topology.Plan{Shards: 2, Replicas: 3, MaxAge: time.Hour}.Streams()
	var got []string
	for _, s := range streams {
		if s.Storage != jetstream.FileStorage || s.Replicas != 3 || !s.AllowDirect || s.Compression != jetstream.S2Compression {
			t.Errorf("%s: %+v", s.Name, s)
		}
		line := s.Name + " " + strings.Join(s.Subjects, ",") + " " + s.Retention.String() + " " + s.MaxAge.String()
		if s.RePublish != nil {
			line += " " + s.RePublish.Source + "=>" + s.RePublish.Destination
		}
		for _, from := range s.Sources {
			line += " " + from.Name
			for _, tr := range from.SubjectTransforms {
				line += " " + tr.Source + "=>" + tr.Destination
			}
		}
		got = append(got, line)
	}
	want := []string{
		"CONV_0 conv.0.> Limits 1h0m0s conv.0.>=>live.0.>",
		"CONV_1 conv.1.> Limits 1h0m0s conv.1.>=>live.1.>",
		"JOBS jobs.> WorkQueue 0s",
		"TIMERS timer.>,due.> Limits 0s",
		"DEAD dead.> Limits 720h0m0s",
		"HISTORY  Limits 0s" +
			" CONV_0 conv.0.*.in=>history.0.{{wildcard(1)}}.in conv.0.*.turn=>history.0.{{wildcard(1)}}.turn conv.0.*.call.*=>history.0.{{wildcard(1)}}.call.{{wildcard(2)}}" +
			" CONV_1 conv.1.*.in=>history.1.{{wildcard(1)}}.in conv.1.*.turn=>history.1.{{wildcard(1)}}.turn conv.1.*.call.*=>history.1.{{wildcard(1)}}.call.{{wildcard(2)}}",
	}
	if !slices.Equal(got, want) {
		t.Errorf("streams are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, s := range streams {
		switch {
		case s.Name == topology.StreamHistory && s.Metadata[topology.MetadataShards] != "2":
			t.Errorf("HISTORY says %v", s.Metadata)
		case s.Name == topology.StreamTimers && (!s.AllowMsgSchedules || !s.AllowMsgTTL):
			t.Error("TIMERS has no schedules")
		case strings.HasPrefix(s.Name, "CONV_") && s.MaxConsumers <= 1000, s.Name == topology.StreamJobs && s.Duplicates < time.Minute:
			t.Errorf("%s: %+v", s.Name, s)
		}
	}
}

func TestPlanWithDefaults(t *testing.T) {
	if got := (topology.Plan{}).WithDefaults(); got != (topology.Plan{Shards: 1, Replicas: 1, MaxAge: 7 * 24 * time.Hour}) {
		t.Errorf("%+v", got)
	}
	for _, b := range (topology.Plan{Replicas: 3}).Buckets() {
		if wants := b.Name != topology.BucketStream(topology.BucketCheckpoints); b.Replicas != 3 || b.MaxMsgsPerSubject != 1 || (b.MaxAge > 0) != wants {
			t.Errorf("%+v", b)
		}
	}
}

func TestPermissionsNameEveryShardAndNoMore(t *testing.T) {
	for _, role := range append(topology.Roles(), "nobody", "") {
		if role == topology.Admin {
			continue
		}
		u := topology.User{Name: "u", Role: role}
		publish, subscribe := u.Permissions(topology.Plan{Shards: 3})
		for _, s := range slices.Concat(publish, subscribe) {
			if s == ">" || s == "$JS.API.>" || s == "_INBOX.>" || strings.HasPrefix(s, "*") || strings.Contains(s, "..") {
				t.Errorf("%s may use %s", role, s)
			}
			if role != topology.Orchestrator && (strings.HasPrefix(s, "$JS.API.") || strings.Contains(s, "CONSUMER.CREATE")) {
				t.Errorf("%s may use %s", role, s)
			}
		}
		api := topology.RoleAPI
		if role == topology.Orchestrator {
			api = topology.API
		}
		reads := role != topology.Viewer && slices.Contains(topology.Roles(), role)
		for _, shard := range []string{"CONV_0", "CONV_2"} {
			if slices.Contains(publish, api+"STREAM.MSG.GET."+shard) != reads {
				t.Errorf("%s reads %s: %t", role, shard, !reads)
			}
		}
		if slices.Contains(publish, api+"STREAM.INFO.CONV_3") {
			t.Errorf("%s may use a shard that does not exist", role)
		}
	}
	if publish, _ := (topology.User{Name: "v", Role: topology.Viewer}).Permissions(topology.Plan{}); len(publish) > 0 {
		t.Errorf("a viewer may publish to %v", publish)
	}
}

func TestAScopeNarrowsARole(t *testing.T) {
	const id = "0198c0de-0000-7000-8000-000000000000"
	for _, role := range []topology.Role{topology.Viewer, topology.App} {
		u := topology.User{Name: "u", Role: role, Scope: topology.Scope{Conversation: id}}
		publish, subscribe := u.Permissions(topology.Plan{Shards: 4})
		for _, s := range slices.Concat(publish, subscribe) {
			if !strings.Contains(s, id) && !strings.Contains(s, "STREAM.INFO.") && !strings.Contains(s, ".MSG.NEXT.") && !strings.HasPrefix(s, "_INBOX_u.") {
				t.Errorf("%s of one conversation may use %s", role, s)
			}
		}
	}
	worker := topology.User{Name: "w", Role: topology.ToolWorker, Scope: topology.Scope{Names: []string{"clock"}}}
	publish, _ := worker.Permissions(topology.Plan{})
	for _, s := range publish {
		if strings.Contains(s, "JOBS") && !strings.Contains(s, "tool_clock") && !strings.Contains(s, "toollow_clock") || strings.Contains(s, "PRESENCE.tool") && !strings.Contains(s, ".clock.") {
			t.Errorf("a worker of one tool may use %s", s)
		}
	}
}

func TestTheServersOfAClusterNeedItsPassword(t *testing.T) {
	cfg := topology.ServerConfig{Users: []topology.User{{Name: "app", Role: topology.App, NKey: "U"}}, Listen: "127.0.0.1:4222", Store: "data",
		Cluster: "127.0.0.1:6222", Routes: []string{"nats://n1:6222", "nats://own:word@n2:6222"}}
	if err := cfg.Write(io.Discard); err == nil {
		t.Error("a cluster without a password has a configuration")
	}
	cfg.ClusterPassword = "XYZ"
	var text strings.Builder
	if err := cfg.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`authorization { user: parley, password: "XYZ" }`, `"nats://parley:XYZ@n1:6222"`, `"nats://own:word@n2:6222"`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the configuration lacks %s:\n%s", want, text.String())
		}
	}
	cfg.Routes = []string{"n1:6222"}
	if err := cfg.Write(io.Discard); err == nil || !strings.Contains(err.Error(), "nats://n2:6222") {
		t.Errorf("a route without a scheme: %v", err)
	}
}

func TestUsersOfAServerAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		users []topology.User
		says  string
	}{
		"one for each role":        {[]topology.User{{Name: "a", Role: topology.App}, {Name: "o", Role: topology.Orchestrator}}, ""},
		"a name twice":             {[]topology.User{{Name: "a", Role: topology.App}, {Name: "a", Role: topology.Viewer}}, "twice"},
		"an account twice":         {[]topology.User{{Name: "a", Role: topology.Viewer}, {Name: "A", Role: topology.Viewer}}, "share account"},
		"an account of the server": {[]topology.User{{Name: "parley", Role: topology.App}}, "the server's"},
		"no such role":             {[]topology.User{{Name: "a", Role: "boss"}}, "no role"},
		"a name that is no token":  {[]topology.User{{Name: "a b", Role: topology.App}}, "may hold"},
		"hooks of two apps":        {[]topology.User{{Name: "a", Role: topology.App}, {Name: "b", Role: topology.App}}, "both answer hooks"},
		"hooks of their own":       {[]topology.User{{Name: "a", Role: topology.App, Scope: topology.Scope{Names: []string{"x"}}}, {Name: "b", Role: topology.App, Scope: topology.Scope{Names: []string{"y"}}}}, ""},
		"a scope that is no token": {[]topology.User{{Name: "a", Role: topology.ToolWorker, Scope: topology.Scope{Names: []string{"*"}}}}, "may hold"},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range c.users {
				c.users[i].NKey = "U"
			}
			err := topology.CheckUsers(c.users)
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}

// TestTenantsHaveAccountsOfTheirOwn: nats-server merges accounts of the same name
// without an error, so no two tenants may have one.
func TestTenantsHaveAccountsOfTheirOwn(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a_b", "Acme", "a.b", "a b", "ä", strings.Repeat("a", 65)} {
		cfg := topology.ServerConfig{Tenant: name, Accounts: true, Users: []topology.User{{Name: "app", Role: topology.App, NKey: "U"}}}
		if err := cfg.Write(io.Discard); err == nil {
			t.Errorf("tenant %q is accepted", name)
		}
	}
	if topology.CheckTenant("acme-2") != nil {
		t.Error("acme-2 is refused")
	}
	if (topology.ServerConfig{Accounts: true}).Write(io.Discard) == nil {
		t.Error("accounts without a tenant are accepted: they would be those of every tenant")
	}
	accounts := map[string]string{}
	for _, tenant := range []string{"a", "a-b", "ab", "parley", "sys"} {
		for _, user := range []string{"app", "b_app", "b-app", "parley_app", "x"} {
			u := topology.User{Name: user, Role: topology.App, Tenant: tenant}
			if other, taken := accounts[u.Account()]; taken {
				t.Errorf("account %s is that of %s/%s and of %s", u.Account(), tenant, user, other)
			}
			accounts[u.Account()] = tenant + "/" + user
		}
	}
}
