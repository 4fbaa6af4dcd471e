package keda_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// monitored starts a server with the generated configuration and the endpoint that
// KEDA reads.
func monitored(t *testing.T) (*bus.Bus, *server.Server) {
	t.Helper()
	a := brokertest.StartAccounts(t, topology.Plan{}, brokertest.RoleUsers([]string{"openai"}, []string{"now", "calculate"}), func(opts *server.Options) {
		opts.HTTPHost, opts.HTTPPort = "127.0.0.1", server.RANDOM_PORT
	})
	b, err := bus.Connect(t.Context(), bus.Config{URL: a.URL, User: "admin", Password: brokertest.Password, InboxPrefix: a.Inbox("admin")}, &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b, a.Server
}

// lag sends the request of KEDA's nats-jetstream scaler and counts as it does:
// waiting and running jobs.
func lag(t *testing.T, ns *server.Server, account, stream, consumer string) (int, bool) {
	t.Helper()
	resp, err := http.Get("http://" + ns.MonitorAddr().String() + "/jsz?acc=" + url.QueryEscape(account) + "&consumers=true&config=true")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var said struct {
		Accounts []struct {
			Name    string
			Streams []struct {
				Name      string
				Consumers []struct {
					Name       string
					Pending    int `json:"num_pending"`
					AckPending int `json:"num_ack_pending"`
				} `json:"consumer_detail"`
			} `json:"stream_detail"`
		} `json:"account_details"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	for _, a := range said.Accounts {
		for _, s := range a.Streams {
			for _, c := range s.Consumers {
				if a.Name == account && s.Name == stream && c.Name == consumer {
					return c.Pending + c.AckPending, true
				}
			}
		}
	}
	return 0, false
}

func TestKEDASeesTheQueuesThatTheManifestsName(t *testing.T) {
	b, ns := monitored(t)
	trigger := manifests(t)["tool-worker"].scaled.Spec.Triggers[0].Metadata
	account, stream, consumer := trigger["account"].(string), trigger["stream"].(string), trigger["consumer"].(string)
	if _, there := lag(t, ns, account, stream, consumer); there {
		t.Fatal("the queue is there before anybody asked for a call")
	}
	queue, err := topology.ToolQueue("now")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Jobs().EnsureQueue(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		conversation, call := uuid.NewString(), uuid.NewString()
		subject, err := topology.ToolJob("now", call)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Jobs().Publish(t.Context(), conversation, subject, call, &events.ToolJob{Conversation: conversation, Call: call, Tool: "now", Arguments: json.RawMessage("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	if n, there := lag(t, ns, account, stream, consumer); !there || n != 5 {
		t.Errorf("with 5 calls that wait KEDA counts %d (%v)", n, there)
	}
	_, js := b.Raw()
	c, err := js.Consumer(t.Context(), topology.StreamJobs, queue.Consumer)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := c.Next(jetstream.FetchMaxWait(10 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := lag(t, ns, account, stream, consumer); n != 5 {
		t.Errorf("with one of 5 that runs KEDA counts %d", n)
	}
	if err := taken.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, _ := lag(t, ns, account, stream, consumer); n != 4 {
		t.Errorf("with one of 5 done KEDA counts %d", n)
	}
}
