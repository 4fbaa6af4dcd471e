package topology

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// RoleAPI is the prefix of requests to JetStream in the accounts of the roles,
// where [API] is in the account that holds the streams.
const RoleAPI = "PARLEY.API."

// Kind is what a [Grant] allows.
type Kind int

// The kinds of grants.
const (
	Request   Kind = iota // publish, and receive the answers
	Subscribe             // receive what is published
	Answer                // receive requests, and answer them
)

// Grant is one thing that a role may do in the account that holds the streams:
// what nats-server calls a service or a stream import.
type Grant struct {
	Kind    Kind
	Subject string // in the account that holds the streams
	Many    bool   // a Request with several answers
}

// Local returns the grant's subject in the account of the role.
func (g Grant) Local() string {
	if rest, ok := strings.CutPrefix(g.Subject, API); ok {
		return RoleAPI + rest
	}
	return g.Subject
}

// Scope narrows a role to a part of the deployment. The zero value narrows
// nothing; where a field does not concern the role it has no effect.
type Scope struct {
	// Names are the routes of an llm-worker ("openai"), the tools of a tool-worker,
	// or the hooks of an app. Without names a worker may take the jobs of every
	// queue, also those of the other kind of worker: subjects of the JetStream API
	// have no wildcard within a token.
	Names []string
	// Conversation is the only one that a viewer or an app may use.
	Conversation string
}

// Check returns an error when a scope holds a name that no subject can have.
func (s Scope) Check() error {
	for _, name := range s.Names {
		if err := CheckToken("scope's", name); err != nil {
			return err
		}
	}
	if s.Conversation != "" {
		return CheckID("conversation", s.Conversation)
	}
	return nil
}

// Grants returns what a role that has an account of its own may do. No grant
// creates a consumer: a push consumer delivers to any subject of the account that
// holds the streams. Roles read through consumers that an orchestrator creates
// for them ([ReadRequest]), or message by message.
func Grants(role Role, plan Plan, scope Scope) []Grant {
	g := grants{plan: plan.WithDefaults(), scope: scope}
	switch role {
	case Viewer:
		g.follow()
	case App:
		g.app()
		g.answer()
	case Caller:
		g.app()
		g.call()
	case LLMWorker:
		g.request(g.lane(events.ChannelGen), pattern(TemplateWake))
		g.work("llm")
	case ToolWorker:
		g.request(g.lane(events.ChannelCall), g.lane(events.ChannelOut))
		g.work("tool")
	case Orchestrator, Admin: // in the account that holds the streams
	}
	return g.all
}

// grants collects the grants of a role.
type grants struct {
	plan  Plan
	scope Scope
	all   []Grant
}

// request adds requests, each once.
func (g *grants) request(subjects ...string) {
	for _, s := range subjects {
		if one := (Grant{Kind: Request, Subject: s}); !slices.Contains(g.all, one) {
			g.all = append(g.all, one)
		}
	}
}

// lane is the pattern of the subjects of a channel.
func (g *grants) lane(channel events.Channel) string {
	if id := g.scope.Conversation; id != "" {
		a := At(g.plan.Shards, id, channel)
		if channel == events.ChannelCall {
			a.Call = "*"
		}
		return a.Subject(Conv)
	}
	return pattern(LogTemplate(Conv, channel))
}

// follow allows to follow live subjects.
func (g *grants) follow() {
	live := string(Live) + ".*.*.>"
	if id := g.scope.Conversation; id != "" {
		live = Everything(Live, g.plan.Shards, id)
	}
	g.all = append(g.all, Grant{Kind: Subscribe, Subject: live})
}

// app allows what people do through an app: speak, decide, answer, read, follow.
func (g *grants) app() {
	g.request(g.lane(events.ChannelIn), g.lane(events.ChannelCall))
	g.follow()
	g.readers()
	if g.scope.Conversation != "" {
		g.request(API+"STREAM.INFO."+StreamHistory, API+"STREAM.INFO."+ConvStream(ShardOf(g.scope.Conversation, g.plan.Shards)))
		return
	}
	g.store()
	g.request(pattern(TemplateProbe), EntrySubject(BucketPresence, ProbeKey), API+"INFO", API+"CONSUMER.LIST."+StreamJobs)
	for _, stream := range g.plan.names() {
		g.request(API + "STREAM.INFO." + stream)
	}
	for _, stream := range g.plan.logs() {
		g.request(API + "STREAM.MSG.GET." + stream)
	}
	for _, bucket := range []string{BucketPresence, BucketLeases, BucketCheckpoints, BucketTools} {
		g.request(API + "STREAM.MSG.GET." + BucketStream(bucket))
	}
}

// answer allows to answer hooks.
func (g *grants) answer() {
	if g.scope.Conversation != "" {
		return
	}
	if len(g.scope.Names) == 0 {
		g.all = append(g.all, Grant{Kind: Answer, Subject: pattern(TemplateHook)})
	}
	for _, hook := range g.scope.Names {
		g.all = append(g.all, Grant{Kind: Answer, Subject: fill(TemplateHook, "*", hook)})
	}
}

// readers allows to read through consumers that an orchestrator creates.
func (g *grants) readers() {
	scope := "*"
	streams := append(g.plan.logs(), BucketStream(BucketPresence))
	if id := g.scope.Conversation; id != "" {
		scope, streams = id, []string{ConvStream(ShardOf(id, g.plan.Shards)), StreamHistory}
	}
	for _, stream := range streams {
		g.request(ReadRequest(stream, scope))
		// The names of these consumers cannot be guessed.
		g.all = append(g.all, Grant{Kind: Request, Subject: API + "CONSUMER.MSG.NEXT." + stream + ".*", Many: true})
	}
}

// call allows to call tools directly.
func (g *grants) call() {
	g.request(pattern(TemplateToolJob), pattern(TemplateLowToolJob), QueueRequest("*"))
}

// work allows to run the jobs of a kind.
func (g *grants) work(kind string) {
	g.all = append(g.all, Grant{Kind: Subscribe, Subject: LiveOfChannel(events.ChannelIn)}, Grant{Kind: Subscribe, Subject: LiveOfChannel(events.ChannelTurn)})
	g.store()
	presence := BucketStream(BucketPresence)
	if kind == "tool" {
		g.request(API + "STREAM.MSG.GET." + BucketStream(BucketTools)) // what is known of its tools
	}
	g.request(API+"STREAM.INFO."+presence, API+"STREAM.MSG.GET."+presence, EntrySubject(BucketPresence, ProbeKey))
	for _, stream := range g.plan.logs() {
		g.request(API+"STREAM.INFO."+stream, API+"STREAM.MSG.GET."+stream)
	}
	if len(g.scope.Names) == 0 {
		g.queue(kind, "*", "*")
		g.request(fill("dead.jobs.{kind}.>", kind))
	}
	for _, name := range g.scope.Names {
		g.queue(kind, name, Consumer(kind, name, false))
		if kind == "tool" {
			g.queue(kind, name, Consumer(kind, name, true))
		}
		g.request(fmt.Sprintf("dead.jobs.%s.%s.>", kind, name))
	}
}

// queue allows to offer a route or tool and to take the jobs of a queue of it.
func (g *grants) queue(kind, name, consumer string) {
	g.request(EntrySubject(BucketPresence, PresenceKey(kind, name, "*")), QueueRequest(consumer), API+"CONSUMER.INFO."+StreamJobs+"."+consumer,
		// Two forms: servers that prefix the domain and the account, and others.
		Acks+StreamJobs+"."+consumer+".>", Acks+"*.*."+StreamJobs+"."+consumer+".>")
	g.all = append(g.all, Grant{Kind: Request, Subject: API + "CONSUMER.MSG.NEXT." + StreamJobs + "." + consumer, Many: true})
}

// store allows to store and fetch content that exceeds a message. An object that
// is stored cannot be changed: see package bus.
func (g *grants) store() {
	g.request(objectMeta+"*", objectChunks+"*", API+"STREAM.INFO."+ObjectStream, API+"STREAM.MSG.GET."+ObjectStream)
}

// logs returns the streams that hold conversations.
func (p Plan) logs() []string {
	var all []string
	for shard := range p.WithDefaults().Shards {
		all = append(all, ConvStream(shard))
	}
	return append(all, StreamHistory)
}

// names returns all streams of a deployment.
func (p Plan) names() []string {
	var all []string
	for _, cfg := range p.Streams() {
		all = append(all, cfg.Name)
	}
	for _, cfg := range p.Buckets() {
		all = append(all, cfg.Name)
	}
	return append(all, ObjectStream)
}
