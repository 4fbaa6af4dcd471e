package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// getRequest selects one stored message: by sequence, the last of a subject, or
// the first of a subject at or after a sequence. Subjects may hold wildcards.
type getRequest struct {
	Sequence uint64 `json:"seq,omitempty"`
	Last     string `json:"last_by_subj,omitempty"`
	Next     string `json:"next_by_subj,omitempty"`
}

// getResponse is the server's io.nats.jetstream.api.v1.stream_msg_get_response.
// It holds the position apart from the stored headers: a publisher cannot set
// it, unlike the headers of a direct get's answer.
type getResponse struct {
	Error   *jetstream.APIError `json:"error"`
	Message *struct {
		Subject  string    `json:"subject"`
		Sequence uint64    `json:"seq"`
		Headers  []byte    `json:"hdrs"`
		Data     []byte    `json:"data"`
		Time     time.Time `json:"time"`
	} `json:"message"`
}

// fromLeader reads one message from the stream's leader; nil when there is none.
// Only the leader's "not found" is final: a direct get or a consumer may be
// served by a replica that lags. An election is waited for, see [Bus.newRetry].
func (b *Bus) fromLeader(ctx context.Context, stream string, get getRequest) (*raw, error) {
	return retryRequest(ctx, b, "read from the leader of "+stream, func() (*raw, error) { return b.getFromLeader(ctx, stream, get) })
}

func (b *Bus) getFromLeader(ctx context.Context, stream string, get getRequest) (*raw, error) {
	body, err := json.Marshal(get)
	if err != nil {
		return nil, err
	}
	msg, err := ask(ctx, func(ctx context.Context) (*nats.Msg, error) {
		return b.request(ctx, b.api("STREAM.MSG.GET."+stream), body)
	})
	if err != nil {
		return nil, err
	}
	var got getResponse
	if err := json.Unmarshal(msg.Data, &got); err != nil {
		return nil, fmt.Errorf("answer of the server: %w", err)
	}
	if got.Error != nil {
		if got.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return nil, nil
		}
		if got.Error.ErrorCode == jetstream.JSErrCodeStreamNotFound {
			return nil, jetstream.ErrStreamNotFound
		}
		return nil, got.Error
	}
	m := got.Message
	if m == nil {
		return nil, errors.New("the server's answer holds no message")
	}
	r := &raw{subject: m.Subject, seq: m.Sequence, at: m.Time, data: m.Data}
	if len(m.Headers) > 0 {
		// Headers that cannot be parsed are no reason to lose the message.
		r.header, _ = nats.DecodeHeadersMsg(m.Headers)
	}
	return r, nil
}

// lastFromLeader reads the last message under a filter of subjects (empty: all);
// nil when there is none.
func (b *Bus) lastFromLeader(ctx context.Context, stream, filter string) (*raw, error) {
	return b.fromLeader(ctx, stream, getRequest{Last: cmp.Or(filter, ">")})
}

// kvFromLeader reads the value of a key from the bucket's leader; nil when it has
// none. A bucket's own Get may be answered by a replica that lags.
func (b *Bus) kvFromLeader(ctx context.Context, bucket, key string) (*raw, error) {
	r, err := b.lastFromLeader(ctx, topology.BucketStream(bucket), topology.EntrySubject(bucket, key))
	if err != nil || r == nil || removed(*r) {
		return nil, err
	}
	return r, nil
}

// api is the subject of a JetStream API operation.
func (b *Bus) api(operation string) string {
	return cmp.Or(b.js.Options().APIPrefix, jetstream.DefaultAPIPrefix) + operation
}

// callAPI makes one request to the JetStream API, and decodes the answer into got unless
// that is nil. An error of the server is a [jetstream.APIError].
func (b *Bus) callAPI(ctx context.Context, operation string, body []byte, got any) error {
	ctx, cancel := answer(ctx)
	defer cancel()
	msg, err := b.request(ctx, b.api(operation), body)
	if err != nil {
		return err
	}
	var failed struct {
		Error *jetstream.APIError `json:"error"`
	}
	err = json.Unmarshal(msg.Data, &failed)
	if err == nil && failed.Error != nil {
		return failed.Error
	}
	if err == nil && got != nil {
		err = json.Unmarshal(msg.Data, got)
	}
	if err != nil {
		return fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	return nil
}
