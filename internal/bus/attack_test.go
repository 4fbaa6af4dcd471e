package bus_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// attacker is a user that turns against the deployment.
type attacker struct {
	*governed
	*testing.T
	user   string
	nc     *nats.Conn
	admin  *nats.Conn
	honest string // a conversation with an input
}

// outsiders are the users outside of the account that holds the streams.
func outsiders() []string {
	return []string{"viewer", "app", "caller", "llm-worker", "tool-worker"}
}

// row prints a row of the table, and fails when an attack worked.
func (a *attacker) row(action, result string, bad bool) {
	a.Helper()
	a.Logf("| %-11s | %-62s | %s |", a.user, action, result)
	if bad {
		a.Errorf("%s: %s: %s", a.user, action, result)
	}
}

// targets are subjects that some role may write, of a conversation of its own.
func targets() map[string]string {
	c, x := id(), id()
	at := fmt.Sprintf("%d.%s.", topology.ShardOf(c, 2), c)
	return map[string]string{
		"an input": "conv." + at + "in", "a Decision": "conv." + at + "turn", "a model's answer": "conv." + at + "gen",
		"a result": "conv." + at + "call." + x, "tool output": "conv." + at + "out." + x,
		"a generation's job": "jobs.llm.scripted." + x, "a call's job": "jobs.tool.clock." + x, "a job of another tool": "jobs.tool.other." + x,
		"a timer": "timer." + at + "next", "a fired timer": "due." + strings.TrimSuffix(at, "."), "a fact in HISTORY": "history." + at + "turn",
		"a dead letter": "dead.jobs.tool.clock." + x, "a lease": "$KV.PARLEY_LEASES." + x, "a checkpoint": "$KV.PARLEY_CHECKPOINTS." + x,
		"a known tool": "$KV.PARLEY_TOOLS." + x, "presence of a tool": "$KV.PARLEY_PRESENCE.tool.clock." + x,
		"presence of another tool": "$KV.PARLEY_PRESENCE.tool.other." + x, "presence of a route": "$KV.PARLEY_PRESENCE.llm.scripted." + x,
		"presence of another route": "$KV.PARLEY_PRESENCE.llm.other." + x, "an object": topology.ObjectSubject(x), "a chunk of an object": topology.ChunksSubject(x),
	}
}

// own are the targets that a role writes in its work.
var own = map[string][]string{
	"app":         {"an input", "a result", "an object", "a chunk of an object"},
	"caller":      {"an input", "a result", "an object", "a chunk of an object", "a call's job", "a job of another tool"},
	"llm-worker":  {"a model's answer", "an object", "a chunk of an object", "presence of a route"},
	"tool-worker": {"a result", "tool output", "an object", "a chunk of an object", "presence of a tool", "a dead letter"},
}

// stored reports whether a stream holds a message on a subject.
func (a *attacker) stored(subject string) bool {
	a.Helper()
	stream := topology.StreamOf(subject)
	if s, ok := map[string]string{"history": topology.StreamHistory, "timer": topology.StreamTimers, "due": topology.StreamTimers, "dead": topology.StreamDead}[stream]; ok {
		stream = s
	}
	m, err := a.admin.Request(topology.API+"STREAM.MSG.GET."+stream, fmt.Appendf(nil, `{"last_by_subj":%q}`, subject), 10*time.Second)
	if err != nil {
		a.Fatal(err)
	}
	return strings.Contains(string(m.Data), `"seq":`)
}

// denied publishes and reports whether the server refused that.
func (a *attacker) denied(m *nats.Msg) bool {
	a.Helper()
	if err := errors.Join(a.nc.PublishMsg(m), a.nc.FlushTimeout(10*time.Second)); err != nil {
		a.Fatal(err)
	}
	// The violation came before the answer to the flush, and is passed on by
	// another goroutine; nats.go keeps it as its last error meanwhile.
	err := a.nc.LastError()
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+m.Subject+`"`)
}

// answered sends a request and returns the answer; false when it is denied or
// nobody answers.
func (a *attacker) answered(subject, body string, most time.Duration) (string, bool) {
	a.Helper()
	inbox := a.nc.NewInbox()
	sub, err := a.nc.SubscribeSync(inbox)
	if err != nil {
		a.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if a.denied(&nats.Msg{Subject: subject, Reply: inbox, Data: []byte(body)}) {
		return "denied", false
	}
	m, err := sub.NextMsg(most)
	if err != nil {
		return "no answer", false
	}
	if m.Header.Get("Status") != "" {
		return "no answer: " + m.Header.Get("Status"), false
	}
	return string(m.Data), true
}

// sync waits until the streams have stored what was published before on this
// connection.
func (a *attacker) sync() {
	a.Helper()
	if err := a.nc.FlushTimeout(10 * time.Second); err != nil {
		a.Fatal(err)
	}
	for _, subject := range []string{"conv.0.probe", "conv.1.probe", "jobs.none", "timer.none", "dead.none", "$KV.PARLEY_LEASES.none", "$KV.PARLEY_PRESENCE.none", "$O.PARLEY_OBJECTS.C.none"} {
		if _, err := a.admin.Request(subject, nil, 10*time.Second); err != nil { // behind it in the stream's queue
			a.Fatal(err)
		}
	}
}

// TestNobodyDoesTheWorkOfOthers is the table of roles and actions under the
// generated configuration: go test -v prints it.
func TestNobodyDoesTheWorkOfOthers(t *testing.T) {
	t.Parallel()
	g := newGoverned(t)
	app, boss := g.as("app"), g.as("orchestrator")
	conversation := id()
	send(t, app, conversation, "hello")
	for _, name := range []string{"tool_clock", "tool_other", "llm_scripted", "llm_other"} {
		q, err := topology.QueueNamed(name)
		if err == nil {
			err = boss.Jobs().EnsureQueue(t.Context(), q)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	admin, _ := g.Connect(t, "admin")
	for _, user := range outsiders() {
		t.Run(user, func(t *testing.T) {
			nc, _ := g.Connect(t, user)
			a := &attacker{governed: g, T: t, user: user, nc: nc, admin: admin, honest: conversation}
			a.publishes()
			a.repliesTo()
			a.rollsUp()
			a.asksJetStream()
			a.takesJobs()
			a.listens()
			a.replacesAnObject()
		})
	}
}

// publishes: each subject directly.
func (a *attacker) publishes() {
	a.Helper()
	all := targets()
	for _, what := range slices.Sorted(maps.Keys(all)) {
		result, _ := a.answered(all[what], `{"type":"Forged"}`, 10*time.Second)
		may := slices.Contains(own[a.user], what)
		switch written := a.stored(all[what]); {
		case written && may:
			result = "its work"
		case written:
			result = "WRITTEN"
		}
		a.row("publish "+what, result, (result == "its work") != may || result == "WRITTEN")
	}
}

// repliesTo: every request that the role may make, with each subject as the reply.
func (a *attacker) repliesTo() {
	a.Helper()
	for _, grant := range topology.Grants(a.Users[a.user].Role, a.plan, a.Users[a.user].Scope) {
		if grant.Kind != topology.Request {
			continue
		}
		subject := strings.NewReplacer("*", id(), ">", id()).Replace(grant.Local())
		all := targets()
		for what, reply := range all {
			if slices.Contains(own[a.user], what) {
				delete(all, what)
				continue
			}
			for _, body := range []string{"", fmt.Sprintf(`{"last_by_subj":"conv.*.%s.in"}`, a.honest), `{"batch":1,"expires":50000000}`} {
				if err := a.nc.PublishRequest(subject, reply, []byte(body)); err != nil {
					a.Fatal(err)
				}
			}
		}
		a.answered(subject, "", 100*time.Millisecond)
		a.sync()
		result := "stays in its account"
		for what, reply := range all {
			if a.stored(reply) {
				result = "WROTE " + what
			}
		}
		a.row("reply of "+strings.Replace(grant.Subject, topology.API, "", 1), result, strings.HasPrefix(result, "WROTE"))
	}
}

// rollsUp: the header that removes everything, on each subject the role may write.
func (a *attacker) rollsUp() {
	a.Helper()
	all := targets()
	for _, what := range own[a.user] {
		for _, how := range []string{jetstream.MsgRollupAll, jetstream.MsgRollupSubject} {
			m := nats.NewMsg(all[what])
			m.Data = []byte("x")
			m.Header.Set(jetstream.MsgRollup, how)
			before := a.count(all[what])
			a.denied(m)
			a.sync()
			after := a.count(all[what])
			a.row("Nats-Rollup: "+how+" on "+what, fmt.Sprintf("%d of %d messages left", after, before), after < before)
		}
	}
}

// count is how many messages the stream of a subject holds.
func (a *attacker) count(subject string) uint64 {
	a.Helper()
	stream := topology.StreamOf(subject)
	if stream == "dead" {
		stream = topology.StreamDead
	}
	m, err := a.admin.Request(topology.API+"STREAM.INFO."+stream, nil, 10*time.Second)
	var info jetstream.StreamInfo
	if err == nil {
		err = json.Unmarshal(m.Data, &info)
	}
	if err != nil {
		a.Fatal(err)
	}
	return info.State.Msgs
}

// asksJetStream: requests that change something or read what is not the role's.
func (a *attacker) asksJetStream() {
	a.Helper()
	push := fmt.Sprintf(`{"stream_name":"CONV_0","config":{"name":"evil","ack_policy":"none","deliver_policy":"all","deliver_subject":"live.0.%s.turn","mem_storage":true}}`, a.honest)
	for _, request := range []struct{ subject, body string }{
		{"STREAM.CREATE.MINE", `{"name":"MINE","subjects":["mine.>"]}`}, {"STREAM.UPDATE.CONV_0", `{"name":"CONV_0","subjects":["conv.0.>"],"max_msgs":1}`},
		{"STREAM.DELETE.CONV_0", ""}, {"STREAM.PURGE.CONV_0", ""}, {"STREAM.PURGE.OBJ_PARLEY_OBJECTS", ""}, {"STREAM.PURGE.KV_PARLEY_PRESENCE", ""},
		{"STREAM.MSG.DELETE.CONV_0", `{"seq":1}`}, {"STREAM.MSG.DELETE.HISTORY", `{"seq":1}`}, {"STREAM.NAMES", ""}, {"STREAM.LIST", ""},
		{"STREAM.SNAPSHOT.HISTORY", `{"deliver_subject":"x"}`}, {"STREAM.RESTORE.MINE", `{}`}, {"STREAM.LEADER.STEPDOWN.CONV_0", ""},
		{"CONSUMER.CREATE.CONV_0.evil", push}, {"CONSUMER.DURABLE.CREATE.CONV_0.evil", push}, {"CONSUMER.CREATE.CONV_0", push},
		{"CONSUMER.CREATE.JOBS.evil", strings.ReplaceAll(push, "CONV_0", "JOBS")}, {"CONSUMER.DELETE.JOBS.tool_clock", ""}, {"CONSUMER.DELETE.JOBS.llm_scripted", ""},
		{"CONSUMER.LIST.CONV_0", ""}, {"CONSUMER.NAMES.JOBS", ""}, {"CONSUMER.PAUSE.JOBS.tool_clock", `{"pause_until":"2100-01-01T00:00:00Z"}`},
		{"DIRECT.GET.CONV_0", `{"seq":1}`}, {"DIRECT.GET.HISTORY", `{"seq":1}`}, {"DIRECT.GET.KV_PARLEY_TOOLS", `{"seq":1}`}, {"STREAM.MSG.GET.JOBS", `{"seq":1}`}, {"STREAM.MSG.GET.TIMERS", `{"seq":1}`},
	} {
		for _, prefix := range []string{topology.API, topology.RoleAPI} {
			said, ok := a.answered(prefix+request.subject, request.body, time.Second)
			worked := ok && !strings.Contains(said, `"error"`)
			if worked {
				said = "DONE " + bus.Preview(said, 80)
			} else if ok {
				said = "refused"
			}
			a.row(prefix+request.subject, said, worked)
		}
	}
}

// takesJobs: from the queues of others.
func (a *attacker) takesJobs() {
	a.Helper()
	boss := a.as("orchestrator")
	for _, queue := range []string{"tool_clock", "tool_other", "llm_scripted", "llm_other"} {
		q, err := topology.QueueNamed(queue)
		if err != nil {
			a.Fatal(err)
		}
		job := id()
		if err := boss.Jobs().Publish(a.Context(), id(), q.Subject(job), job, &events.ToolJob{Call: job}); err != nil {
			a.Fatal(err)
		}
		said, ok := a.answered(topology.RoleAPI+"CONSUMER.MSG.NEXT.JOBS."+queue, `{"batch":1,"expires":200000000}`, 5*time.Second)
		may := strings.HasPrefix(a.user, queue[:3]) && strings.HasSuffix(a.user, "worker") && !strings.HasSuffix(queue, "other") && queue[0] == a.user[0]
		if ok {
			said = "took " + bus.Preview(said, 40)
		}
		a.row("take a job of "+queue, said, ok != may)
	}
}

// listens: to what is meant for others.
func (a *attacker) listens() {
	a.Helper()
	all := []string{">", "conv.>", "history.>", "jobs.>", "_INBOX.>", "_INBOX_admin.>", "_INBOX_orchestrator.>", "_R_.>", "$JS.>", "$KV.>", "$O.>", "$SYS.>", "read.>", "queue.>", "timer.>"}
	switch a.user {
	case "llm-worker", "tool-worker":
		all = append(all, "live.>", "live.*.*.gen", "hooks.>")
	case "viewer", "caller":
		all = append(all, "hooks.>")
	}
	for _, subject := range all {
		sub, err := a.nc.SubscribeSync(subject)
		if err == nil {
			err = a.nc.FlushTimeout(10 * time.Second)
		}
		if err != nil {
			a.Fatal(err)
		}
		err = a.nc.LastError()
		denied := errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `Subscription to "`+subject+`"`)
		_ = sub.Unsubscribe() // the server has refused it
		a.row("subscribe to "+subject, map[bool]string{true: "denied", false: "ALLOWED"}[denied], !denied)
	}
}

// replacesAnObject: of another one, under its name.
func (a *attacker) replacesAnObject() {
	a.Helper()
	app := a.as("app")
	want := strings.Repeat("an honest text ", 20_000)
	ref, err := app.Objects().Put(a.Context(), a.honest, []byte(want+a.user))
	if err != nil {
		a.Fatal(err)
	}
	meta, err := a.admin.Request(topology.API+"STREAM.MSG.GET."+topology.ObjectStream, fmt.Appendf(nil, `{"last_by_subj":%q}`, topology.ObjectSubject(ref.Name)), 10*time.Second)
	if err != nil {
		a.Fatal(err)
	}
	var got struct {
		Message struct{ Data []byte }
	}
	var info jetstream.ObjectInfo
	if err := errors.Join(json.Unmarshal(meta.Data, &got), json.Unmarshal(got.Message.Data, &info)); err != nil {
		a.Fatal(err)
	}
	a.denied(&nats.Msg{Subject: topology.ChunksSubject(info.NUID), Data: []byte("and more")})
	for _, change := range []func(*jetstream.ObjectInfo){
		func(i *jetstream.ObjectInfo) { i.NUID = "another" }, func(i *jetstream.ObjectInfo) { i.Deleted = true }, func(i *jetstream.ObjectInfo) { i.Size = 1 << 40 },
	} {
		changed := info
		change(&changed)
		raw, err := json.Marshal(changed)
		if err != nil {
			a.Fatal(err)
		}
		a.denied(&nats.Msg{Subject: topology.ObjectSubject(ref.Name), Data: raw})
	}
	a.sync()
	data, err := app.Objects().Get(a.Context(), ref)
	a.row("replace, append to and delete an object", map[bool]string{true: "the object is as it was stored", false: fmt.Sprint("CHANGED ", err)}[string(data) == want+a.user], string(data) != want+a.user)
}
