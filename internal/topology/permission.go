package topology

import (
	"slices"
)

// Role is the role of a NATS user; it determines the permissions.
type Role string

// The roles.
const (
	// Viewer subscribes to live subjects and nothing else; it has no JetStream.
	Viewer Role = "viewer"
	// App acts for people: it writes inputs, answers deferred calls and hooks, and
	// reads everything. Gateways and the command line are apps.
	App Role = "app"
	// Caller is an app that also calls tools directly, without any policy: the
	// command line's `tools call`, and `parley mcp`.
	Caller Role = "caller"
	// LLMWorker runs generation jobs.
	LLMWorker Role = "llm-worker"
	// ToolWorker runs call jobs.
	ToolWorker Role = "tool-worker"
	// Orchestrator owns shards and writes Decisions.
	Orchestrator Role = "orchestrator"
	// Admin sets up and repairs the deployment.
	Admin Role = "admin"
)

// orchestrating returns the subjects that an orchestrator may publish to. It may
// create Parley's streams, not change or delete them.
func (p Plan) orchestrating() []string {
	own := []string{
		"conv.*.*.turn", "jobs.>",
		"conv.*.*.in", "conv.*.*.call.*", pattern(TemplateProbe), // again, in another shard or past the gap of a log
		"timer.>", "hooks.>", "dead.>",
		"$KV." + BucketLeases + ".>", "$KV." + BucketCheckpoints + ".>", "$KV." + BucketTools + ".>", EntrySubject(BucketPresence, PresenceKey("pool", "*", "*")),
		API + "CONSUMER.CREATE.JOBS.>", API + "CONSUMER.INFO.JOBS.*", API + "CONSUMER.LIST.JOBS", API + "STREAM.INFO.JOBS",
		API + "CONSUMER.DELETE.JOBS.*", API + "STREAM.MSG.GET.JOBS", // leftovers
		API + "STREAM.LEADER.STEPDOWN." + StreamHistory, // of a leader that copies nothing
	}
	var logs []string
	for _, stream := range p.logs() {
		logs = append(logs, logOf(stream)...)
	}
	return slices.Concat(own, timers(), logs, p.purging(), objects(), roster(), entries(BucketLeases), entries(BucketCheckpoints), entries(BucketTools), p.making())
}

// making returns the permissions to create missing streams and buckets. The
// server refuses to create one that exists with another configuration.
func (p Plan) making() []string {
	all := []string{API + "INFO"}
	one := func(stream string) {
		all = append(all, API+"STREAM.INFO."+stream, API+"STREAM.CREATE."+stream)
	}
	for _, stream := range p.names() {
		one(stream)
	}
	return all
}

func logOf(stream string) []string {
	return []string{
		API + "STREAM.INFO." + stream,
		API + "STREAM.MSG.GET." + stream, // from the leader
		API + "DIRECT.GET." + stream, API + "DIRECT.GET." + stream + ".>",
		API + "CONSUMER.CREATE." + stream + ".>",
		API + "CONSUMER.MSG.NEXT." + stream + ".*",
		API + "CONSUMER.DELETE." + stream + ".*",
	}
}

// purging returns the permissions to delete conversations. The API's subjects
// contain the stream only, not the subject to purge.
func (p Plan) purging() []string {
	const purge = API + "STREAM.PURGE."
	all := []string{purge + StreamJobs, purge + ObjectStream}
	for _, stream := range p.logs() {
		all = append(all, purge+stream)
	}
	return all
}

// timers returns the permissions to follow fired timers and to remove others.
func timers() []string {
	return []string{
		API + "STREAM.INFO." + StreamTimers,
		API + "STREAM.MSG.GET." + StreamTimers,
		API + "STREAM.PURGE." + StreamTimers,
		API + "CONSUMER.CREATE." + StreamTimers + ".*.due.>",
		API + "CONSUMER.MSG.NEXT." + StreamTimers + ".*",
		API + "CONSUMER.DELETE." + StreamTimers + ".*",
	}
}

// objects returns the permissions to store and fetch content that exceeds a
// message.
func objects() []string {
	const stream = "OBJ_" + BucketObjects
	return append(watching(stream), "$O."+BucketObjects+".>",
		API+"STREAM.MSG.GET."+stream, API+"CONSUMER.MSG.NEXT."+stream+".*")
}

// roster returns the permissions to read which workers are present.
func roster() []string {
	const stream = "KV_" + BucketPresence
	return append(watching(stream), API+"STREAM.MSG.GET."+stream, API+"CONSUMER.MSG.NEXT."+stream+".*")
}

func watching(stream string) []string {
	return []string{
		API + "STREAM.INFO." + stream,
		API + "DIRECT.GET." + stream + ".>",
		API + "CONSUMER.CREATE." + stream + ".>",
		API + "CONSUMER.DELETE." + stream + ".*",
		"$JS.FC." + stream + ".>",
	}
}

func entries(bucket string) []string {
	return []string{API + "STREAM.INFO.KV_" + bucket, API + "STREAM.MSG.GET.KV_" + bucket, API + "DIRECT.GET.KV_" + bucket + ".>"}
}
