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

// Inbox returns the prefix of the role's reply subjects. With the default
// prefix every user could read all replies.
func (r Role) Inbox() string { return "_INBOX_" + string(r) }

// Permissions returns the subjects that a role may publish and subscribe to. An
// empty list allows nothing: write it for nats-server as deny ">", because a
// missing list allows everything. The channel identifies the writer of an
// event, so a model or a tool cannot forge an input or a Decision.
//
// A worker may take jobs of every queue and read every conversation: subjects
// of the JetStream API have no wildcard within a token. To restrict it, list
// the queues' consumers instead of "CONSUMER.MSG.NEXT.JOBS.*".
func Permissions(role Role, plan Plan) (publish, subscribe []string) {
	inbox := role.Inbox() + ".>"
	switch role {
	case Viewer:
		return nil, []string{"live.*.*.>", inbox}
	case App:
		own := []string{
			"conv.*.*.in", "conv.*.*.call.*",
			"conv.*.probe",                        // whether the log can be written
			"$JS.API.STREAM.INFO." + StreamTimers, // which conversations wait
			Orchestrator.Inbox() + ".>",           // the answers of hooks
		}
		publish = slices.Concat(own, plan.reading(), objects(), roster(), entries(BucketLeases))
		return publish, []string{"live.*.*.>", "hooks.>", inbox}
	case Caller:
		publish, _ = Permissions(App, plan)
		return append(publish, "jobs.tool.*.*", "$JS.API.CONSUMER.CREATE.JOBS.>", "$JS.API.CONSUMER.LIST.JOBS", "$JS.API.STREAM.INFO.JOBS"), []string{"live.*.*.>", inbox}
	case LLMWorker:
		publish = slices.Concat([]string{"conv.*.*.gen"}, plan.reading(), objects(), working("llm"))
		return publish, []string{"live.*.*.in", "live.*.*.turn", inbox}
	case ToolWorker:
		publish = slices.Concat([]string{"conv.*.*.call.*", "conv.*.*.out.*"}, plan.reading(), objects(), working("tool"))
		return publish, []string{"live.*.*.in", "live.*.*.turn", inbox}
	case Orchestrator:
		own := []string{
			"conv.*.*.turn", "jobs.>", "timer.>", "hooks.>", "dead.>",
			"$KV." + BucketLeases + ".>", "$KV." + BucketCheckpoints + ".>", "$KV." + BucketTools + ".>",
			"$JS.API.CONSUMER.CREATE.JOBS.>", "$JS.API.CONSUMER.INFO.JOBS.*", "$JS.API.CONSUMER.LIST.JOBS", "$JS.API.STREAM.INFO.JOBS",
			"$JS.API.CONSUMER.DELETE.JOBS.*", "$JS.API.STREAM.MSG.GET.JOBS", // leftovers
		}
		publish = slices.Concat(own, timers(), plan.reading(), plan.purging(), objects(), roster(), entries(BucketLeases), entries(BucketCheckpoints), entries(BucketTools), plan.making())
		return publish, []string{inbox}
	case Admin:
		return []string{">"}, []string{">"}
	}
	return nil, nil
}

// reading returns the permissions to read conversations from the streams.
func (p Plan) reading() []string {
	all := logOf(StreamHistory)
	for shard := range p.WithDefaults().Shards {
		all = append(all, logOf(ConvStream(shard))...)
	}
	return all
}

// making returns the permissions to create missing streams and buckets. The
// server refuses to create one that exists with another configuration.
func (p Plan) making() []string {
	const api = "$JS.API."
	all := []string{api + "INFO"}
	one := func(stream string) {
		all = append(all, api+"STREAM.INFO."+stream, api+"STREAM.CREATE."+stream)
	}
	for _, cfg := range p.Streams() {
		one(cfg.Name)
	}
	for _, cfg := range p.Buckets() {
		one("KV_" + cfg.Bucket)
	}
	one("OBJ_" + p.Objects().Bucket)
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
	all := []string{purge + StreamHistory, purge + StreamJobs, purge + "OBJ_" + BucketObjects}
	for shard := range p.WithDefaults().Shards {
		all = append(all, purge+ConvStream(shard))
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

// working returns the permissions to run the jobs of a kind.
func working(kind string) []string {
	return []string{
		"$JS.API.CONSUMER.CREATE." + StreamJobs + ".*.jobs." + kind + ".>",
		"$JS.API.CONSUMER.INFO." + StreamJobs + ".*",
		"$JS.API.CONSUMER.MSG.NEXT." + StreamJobs + ".*",
		// Two forms: servers before 2.14, and servers that prefix the domain and
		// the account.
		"$JS.ACK." + StreamJobs + ".>", "$JS.ACK.*.*." + StreamJobs + ".>",
		"dead.jobs.>",
		"$KV." + BucketPresence + "." + kind + ".>",
		"$JS.API.STREAM.INFO.KV_" + BucketPresence, "$JS.API.DIRECT.GET.KV_" + BucketPresence + ".>",
		"$JS.API.STREAM.MSG.GET.KV_" + BucketPresence, // whether another worker is present
	}
}
