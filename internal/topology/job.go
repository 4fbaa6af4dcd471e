package topology

import (
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Queue is where jobs of one kind wait: a route of models or a tool.
type Queue struct {
	Consumer string // durable name on JOBS
	Filter   string // subjects it takes
}

// AllJobs is the pattern of the jobs of all queues.
const AllJobs = "jobs.>"

// Consumer is the durable name of a queue: kind is "llm" or "tool", low says that
// it is the queue of calls that can wait.
func Consumer(kind, name string, low bool) string {
	if low {
		kind += "low"
	}
	return kind + "_" + name
}

// ParseConsumer reads what [Consumer] made. It reports false for any other name.
func ParseConsumer(durable string) (kind, name string, low, ok bool) {
	kind, name, ok = strings.Cut(durable, "_")
	if low = kind == "toollow"; low {
		kind = "tool"
	}
	return kind, name, low, ok && (kind == "llm" || kind == "tool")
}

// Subject is the subject of the job with an id in this queue. It does not check
// the id.
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

// RouteToken is the queue of a route: what stands before the first slash of
// "provider/model". Workers scale by it.
func RouteToken(route string) (string, error) {
	token, _, _ := strings.Cut(route, "/")
	return token, CheckToken("route", token)
}

// LLMQueue is the queue of a route.
func LLMQueue(route string) (Queue, error) {
	token, err := RouteToken(route)
	return Queue{Consumer: Consumer("llm", token, false), Filter: fill(TemplateGenerationJob, token, "*")}, err
}

// ToolQueue is the queue of a tool.
func ToolQueue(tool string) (Queue, error) {
	return Queue{Consumer: Consumer("tool", tool, false), Filter: fill(TemplateToolJob, tool, "*")}, CheckToken("tool", tool)
}

// LowQueue is the queue of a tool's calls that can wait. The name cannot be that
// of another tool's queue.
func LowQueue(tool string) (Queue, error) {
	return Queue{Consumer: Consumer("tool", tool, true), Filter: fill(TemplateLowToolJob, tool, "*")}, CheckToken("tool", tool)
}

// GenerationJob is the subject of a generation's job.
func GenerationJob(route, generation string) (string, error) {
	token, err := RouteToken(route)
	if err == nil {
		err = CheckID("generation", generation)
	}
	return fill(TemplateGenerationJob, token, generation), err
}

// ToolJob is the subject of a call's job.
func ToolJob(tool, call string) (string, error) {
	err := CheckToken("tool", tool)
	if err == nil {
		err = CheckID("call", call)
	}
	return fill(TemplateToolJob, tool, call), err
}

// LowToolJob is the subject of the job of a call that can wait.
func LowToolJob(tool, call string) (string, error) {
	err := CheckToken("tool", tool)
	if err == nil {
		err = CheckID("call", call)
	}
	return fill(TemplateLowToolJob, tool, call), err
}

// ConsumerConfig is the queue's durable consumer, shared by its workers. The
// orchestrator makes it, so that jobs wait visibly where no worker is yet.
func (q Queue) ConsumerConfig() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: q.Consumer, FilterSubject: q.Filter,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: JobAckWait,
		MaxDeliver: -1, MaxAckPending: 10_000,
	}
}

// DeadSubject is where a message that was on subject goes when nobody can read
// or run it.
func DeadSubject(subject string) string {
	if len(subject) > 512 {
		subject = subject[:512]
	}
	return fill(TemplateDead, strings.TrimSuffix(subject, "."))
}

// PresenceKey is the key under which a worker says that it serves something:
// kind is "llm" or "tool".
func PresenceKey(kind, name, worker string) string { return kind + "." + name + "." + worker }
