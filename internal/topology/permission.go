package topology

import "slices"

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
		"conv.*.*.turn", "jobs.>", "timer.>", "hooks.>", "dead.>",
		"$KV." + BucketLeases + ".>", "$KV." + BucketCheckpoints + ".>", "$KV." + BucketTools + ".>",
		"$JS.API.CONSUMER.CREATE.JOBS.>", "$JS.API.CONSUMER.INFO.JOBS.*", "$JS.API.CONSUMER.LIST.JOBS", "$JS.API.STREAM.INFO.JOBS",
		"$JS.API.CONSUMER.DELETE.JOBS.*", "$JS.API.STREAM.MSG.GET.JOBS", // leftovers
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
	const api = "$JS.API."
	all := []string{api + "INFO"}
	one := func(stream string) {
		all = append(all, api+"STREAM.INFO."+stream, api+"STREAM.CREATE."+stream)
	}
	for _, stream := range p.names() {
		one(stream)
	}
	return all
}

func logOf(stream string) []string {
	const api = "$JS.API."
	return []string{
		api + "STREAM.INFO." + stream,
		api + "STREAM.MSG.GET." + stream, // from the leader
		api + "DIRECT.GET." + stream, api + "DIRECT.GET." + stream + ".>",
		api + "CONSUMER.CREATE." + stream + ".>",
		api + "CONSUMER.MSG.NEXT." + stream + ".*",
		api + "CONSUMER.DELETE." + stream + ".*",
	}
}

// purging returns the permissions to delete conversations. The API's subjects
// contain the stream only, not the subject to purge.
func (p Plan) purging() []string {
	const purge = "$JS.API.STREAM.PURGE."
	all := []string{purge + StreamJobs, purge + ObjectStream}
	for _, stream := range p.logs() {
		all = append(all, purge+stream)
	}
	return all
}

// timers returns the permissions to follow fired timers and to remove others.
func timers() []string {
	const api = "$JS.API."
	return []string{
		api + "STREAM.INFO." + StreamTimers,
		api + "STREAM.MSG.GET." + StreamTimers,
		api + "STREAM.PURGE." + StreamTimers,
		api + "CONSUMER.CREATE." + StreamTimers + ".*.due.>",
		api + "CONSUMER.MSG.NEXT." + StreamTimers + ".*",
		api + "CONSUMER.DELETE." + StreamTimers + ".*",
	}
}

// objects returns the permissions to store and fetch content that exceeds a
// message.
func objects() []string {
	const stream = "OBJ_" + BucketObjects
	return append(watching(stream), "$O."+BucketObjects+".>",
		"$JS.API.STREAM.MSG.GET."+stream, "$JS.API.CONSUMER.MSG.NEXT."+stream+".*")
}

// roster returns the permissions to read which workers are present.
func roster() []string {
	const stream = "KV_" + BucketPresence
	return append(watching(stream), "$JS.API.STREAM.MSG.GET."+stream, "$JS.API.CONSUMER.MSG.NEXT."+stream+".*")
}

func watching(stream string) []string {
	return []string{
		"$JS.API.STREAM.INFO." + stream,
		"$JS.API.DIRECT.GET." + stream + ".>",
		"$JS.API.CONSUMER.CREATE." + stream + ".>",
		"$JS.API.CONSUMER.DELETE." + stream + ".*",
		"$JS.FC." + stream + ".>",
	}
}

func entries(bucket string) []string {
	const api = "$JS.API."
	return []string{api + "STREAM.INFO.KV_" + bucket, api + "STREAM.MSG.GET.KV_" + bucket, api + "DIRECT.GET.KV_" + bucket + ".>"}
}
