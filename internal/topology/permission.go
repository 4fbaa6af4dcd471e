package topology

import "slices"

// Role is what a user of the server is allowed to be.
type Role string

// The roles.
const (
	// Viewer watches: live subjects and nothing else, no JetStream.
	Viewer Role = "viewer"
	// App speaks for people: it writes inputs, answers deferred calls and hooks,
	// and reads everything. Gateways and the command line are apps.
	App Role = "app"
	// Caller is an app that also calls tools by itself, past every policy: the
	// command line's `tools call`, and `parley mcp`.
	Caller Role = "caller"
	// LLMWorker runs generations.
	LLMWorker Role = "llm-worker"
	// ToolWorker runs calls.
	ToolWorker Role = "tool-worker"
	// Orchestrator decides.
	Orchestrator Role = "orchestrator"
	// Admin sets up and repairs.
	Admin Role = "admin"
)

// Inbox is the prefix under which a role gets its answers. With the usual one
// everybody could read everybody's.
func (r Role) Inbox() string { return "_INBOX_" + string(r) }

// Permissions lists the subjects a role may publish and subscribe to. An empty
// list allows nothing: say so to nats-server with deny ">", for it takes a
// missing list for everything. The channel says who wrote an event, so a model
// or a tool cannot forge what a person said or the orchestrator decided.
//
// A worker may take jobs of every queue and read every conversation: subjects
// of the JetStream API have no wildcard within a token. To narrow it, list the
// queues' consumers in place of "CONSUMER.MSG.NEXT.JOBS.*".
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
			"$JS.API.CONSUMER.DELETE.JOBS.*", "$JS.API.STREAM.MSG.GET.JOBS", // what nobody needs any more
		}
		publish = slices.Concat(own, timers(), plan.reading(), plan.purging(), objects(), roster(), entries(BucketLeases), entries(BucketCheckpoints), entries(BucketTools), plan.making())
		return publish, []string{inbox}
	case Admin:
		return []string{">"}, []string{">"}
	}
	return nil, nil
}

// reading is what it takes to read conversations, but for the live ones.
func (p Plan) reading() []string {
	all := logOf(StreamHistory)
	for shard := range p.WithDefaults().Shards {
		all = append(all, logOf(ConvStream(shard))...)
	}
	return all
}

// making is what it takes to make streams and buckets that are missing. The
// server refuses to make one that exists otherwise.
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

// purging is what it takes to delete conversations. The API names the stream
// only, not what is purged of it.
func (p Plan) purging() []string {
	const purge = "$JS.API.STREAM.PURGE."
	all := []string{purge + StreamHistory, purge + StreamJobs, purge + "OBJ_" + BucketObjects}
	for shard := range p.WithDefaults().Shards {
		all = append(all, purge+ConvStream(shard))
	}
	return all
}

// timers is what it takes to follow the timers that fired and to take back
// those that have not.
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

// objects is what it takes to store and fetch what exceeds a message.
func objects() []string {
	const stream = "OBJ_" + BucketObjects
	return append(watching(stream), "$O."+BucketObjects+".>",
		"$JS.API.STREAM.MSG.GET."+stream, "$JS.API.CONSUMER.MSG.NEXT."+stream+".*")
}

// roster is what it takes to know who is there.
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

// working is what it takes to run the jobs of a kind.
func working(kind string) []string {
	return []string{
		"$JS.API.CONSUMER.CREATE." + StreamJobs + ".*.jobs." + kind + ".>",
		"$JS.API.CONSUMER.INFO." + StreamJobs + ".*",
		"$JS.API.CONSUMER.MSG.NEXT." + StreamJobs + ".*",
		// Both forms: servers of before 2.14 and servers that put the domain and
		// the account in front.
		"$JS.ACK." + StreamJobs + ".>", "$JS.ACK.*.*." + StreamJobs + ".>",
		"dead.jobs.>",
		"$KV." + BucketPresence + "." + kind + ".>",
		"$JS.API.STREAM.INFO.KV_" + BucketPresence, "$JS.API.DIRECT.GET.KV_" + BucketPresence + ".>",
		"$JS.API.STREAM.MSG.GET.KV_" + BucketPresence, // whether another worker is there
	}
}
