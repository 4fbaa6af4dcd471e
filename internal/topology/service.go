package topology

import (
	"fmt"
	"slices"
	"strings"
)

// Services of the orchestrators for users who may not create consumers.
const (
	// AllReads and AllQueues are the patterns of their requests.
	AllReads  = "read.*.*"
	AllQueues = "queue.*"
	// ScopeAll is the scope of a request to read that is not limited to one
	// conversation.
	ScopeAll = "all"
	// ReaderPrefix is the prefix of the names of the consumers that an orchestrator
	// creates for others.
	ReaderPrefix = "reader_"
)

// ReadRequest returns the subject of a request for a consumer on a stream; scope
// is a conversation or [ScopeAll].
func ReadRequest(stream, scope string) string { return fill(TemplateRead, stream, scope) }

// QueueRequest returns the subject of a request to create a queue if it is
// missing; consumer is its durable name.
func QueueRequest(consumer string) string { return fill(TemplateQueue, consumer) }

// CheckRead returns the stream of a request to read. It returns an error when the
// stream is not one that others may read, or when filter reaches beyond the scope
// of the request.
func (p Plan) CheckRead(subject, filter string) (stream string, err error) {
	t := strings.Split(subject, ".")
	if len(t) != 3 || t[0] != "read" {
		return "", fmt.Errorf("%w: subject %q is not of the form read.<stream>.<scope>", ErrBadID, clip(subject))
	}
	stream, scope := t[1], t[2]
	if stream != BucketStream(BucketPresence) && !slices.Contains(p.logs(), stream) {
		return "", fmt.Errorf("stream %q cannot be read through an orchestrator", clip(stream))
	}
	if scope == ScopeAll {
		return stream, nil
	}
	if err := CheckID("conversation", scope); err != nil {
		return "", err
	}
	log := Conv
	if stream == StreamHistory {
		log = History
	}
	within := strings.TrimSuffix(Everything(log, p.Shards, scope), ">")
	if !strings.HasPrefix(filter, within) {
		return "", fmt.Errorf("filter %q reaches beyond conversation %s", clip(filter), scope)
	}
	return stream, nil
}

// ReadScope returns the scope of a request to read with a filter: the
// conversation that it is about, or [ScopeAll].
func ReadScope(filter string) string {
	t := strings.Split(filter, ".")
	if len(t) > 3 && (t[0] == string(Conv) || t[0] == string(History)) && canonical(t[2]) {
		return t[2]
	}
	return ScopeAll
}
