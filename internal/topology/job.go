package topology

import (
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
)

// Queue is the queue of the jobs of a route or a tool.
type Queue struct {
	Consumer string // durable name on JOBS
	Filter   string // subjects of its jobs
}

// AllJobs is the pattern of the jobs of all queues.
const AllJobs = "jobs.>"

// Consumer returns the durable name of a queue. kind is "llm" or "tool"; low
// selects the queue of calls with low priority.
func Consumer(kind, name string, low bool) string {
	if low {
		kind += "low"
	}
	return kind + "_" + name
}

// ParseConsumer parses a name from [Consumer]. ok is false for any other name.
func ParseConsumer(durable string) (kind, name string, low, ok bool) {
	kind, name, ok = strings.Cut(durable, "_")
	if low = kind == "toollow"; low {
		kind = "tool"
	}
	return kind, name, low, ok && (kind == "llm" || kind == "tool")
}

// Subject returns the subject of the job with an id in this queue. It does not
// check the id.
func (q Queue) Subject(id string) string { return strings.TrimSuffix(q.Filter, "*") + id }

// JobID returns the id of the generation or call that a job is for: the last
// token of the job's subject.
func JobID(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// QueueNamed returns the queue with a durable name, such as "tool_clock".
func QueueNamed(consumer string) (Queue, error) {
	kind, name, low, ok := ParseConsumer(consumer)
	q, err := Queue{}, ErrBadID
	switch {
	case !ok:
	case low:
		q, err = LowQueue(name)
	case kind == "llm":
		q, err = LLMQueue(name)
	default:
		q, err = ToolQueue(name)
	}
	if err != nil || q.Consumer != consumer {
		return Queue{}, fmt.Errorf("%w: queue %q is not named llm_<route>, tool_<tool> or toollow_<tool>", ErrBadID, clip(consumer))
	}
	return q, nil
}

// QueueOf returns the queue of a job's subject.
func QueueOf(subject string) (Queue, error) {
	t := strings.Split(subject, ".")
	switch {
	case len(t) == 4 && t[0] == "jobs" && t[1] == "llm":
		return LLMQueue(t[2])
	case len(t) == 4 && t[0] == "jobs" && t[1] == "tool":
		return ToolQueue(t[2])
	case len(t) == 5 && t[0] == "jobs" && t[1] == "tool" && t[3] == "low":
		return LowQueue(t[2])
	}
	return Queue{}, fmt.Errorf("%w: %q is not the subject of a job", ErrBadID, clip(subject))
}

// RouteToken returns the queue of a route: the part before the first slash of
// "provider/model". Workers scale by it.
func RouteToken(route string) (string, error) {
	token, _, _ := strings.Cut(route, "/")
	return token, CheckToken("route", token)
}

// LLMQueue returns the queue of a route.
func LLMQueue(route string) (Queue, error) {
	token, err := RouteToken(route)
	return Queue{Consumer: Consumer("llm", token, false), Filter: fill(TemplateGenerationJob, token, "*")}, err
}

// ToolQueue returns the queue of a tool.
func ToolQueue(tool string) (Queue, error) {
	return Queue{Consumer: Consumer("tool", tool, false), Filter: fill(TemplateToolJob, tool, "*")}, CheckToken("tool", tool)
}

// LowQueue returns the queue of a tool's calls with low priority. Its name
// never equals that of another tool's queue.
func LowQueue(tool string) (Queue, error) {
	return Queue{Consumer: Consumer("tool", tool, true), Filter: fill(TemplateLowToolJob, tool, "*")}, CheckToken("tool", tool)
}

// GenerationJob returns the subject of a generation's job.
func GenerationJob(route, generation string) (string, error) {
	token, err := RouteToken(route)
	if err == nil {
		err = CheckID("generation", generation)
	}
	return fill(TemplateGenerationJob, token, generation), err
}

// ToolJob returns the subject of a call's job.
func ToolJob(tool, call string) (string, error) {
	err := CheckToken("tool", tool)
	if err == nil {
		err = CheckID("call", call)
	}
	return fill(TemplateToolJob, tool, call), err
}

// LowToolJob returns the subject of the job of a call with low priority.
func LowToolJob(tool, call string) (string, error) {
	err := CheckToken("tool", tool)
	if err == nil {
		err = CheckID("call", call)
	}
	return fill(TemplateLowToolJob, tool, call), err
}

// JobsOf returns the subjects that the job of a request may have, and none for any other
// event, or for one with a name that no job can have.
func JobsOf(request events.Event) (subjects []string) {
	add := func(subject string, err error) {
		if err == nil {
			subjects = append(subjects, subject)
		}
	}
	switch e := request.(type) {
	case *events.GenerationRequested:
		add(GenerationJob(e.Route, e.Generation))
	case *events.ToolCallRequested:
		add(ToolJob(e.Tool, e.Call))
		add(LowToolJob(e.Tool, e.Call))
	}
	return subjects
}

// ConsumerConfig returns the queue's durable consumer, which its workers share.
// The orchestrator creates it, so that jobs count as pending before a worker
// exists.
func (q Queue) ConsumerConfig() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: q.Consumer, FilterSubject: q.Filter,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: JobAckWait,
		MaxDeliver: -1, MaxAckPending: 10_000,
	}
}

// DeadSubject returns the dead-letter subject for a message that was on
// subject.
func DeadSubject(subject string) string {
	if len(subject) > 512 {
		subject = subject[:512]
	}
	return fill(TemplateDead, strings.TrimSuffix(subject, "."))
}

// PresenceKey returns the key under which a worker announces a route or tool:
// kind is "llm" or "tool".
func PresenceKey(kind, name, worker string) string { return kind + "." + name + "." + worker }
