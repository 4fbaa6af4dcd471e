package brokertest

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/topology"
)

// Full reports whether PARLEY_LAG=full selects the full form of the tests with
// a lagging server, which then lags by 900 MB. In the short form it lags by 12
// MB.
func Full() bool { return os.Getenv("PARLEY_LAG") == "full" }

// Slow starts a cluster whose servers catch up slowly.
func Slow() Config { return Config{Catchup: 1} }

// Lagging is a cluster of which one server is stopped, misses messages, and is
// started again.
type Lagging struct {
	*Cluster
	Leader int // leader of the stream that is read
	Away   int // the server to stop
}

// Behind chooses the server that will lag: one that does not lead a stream.
func (c *Cluster) Behind(stream string) *Lagging {
	c.t.Helper()
	leader := c.Leader(stream)
	return &Lagging{Cluster: c, Leader: leader, Away: (leader + 1) % 3}
}

// Lead lets a server lead a stream.
func (c *Cluster) Lead(i int, stream string) {
	c.t.Helper()
	js, done := c.connect(c.URL())
	defer done()
	for name := fmt.Sprintf("n%d", i); c.leader(js, stream) != name; {
		request := fmt.Sprintf(`{"placement":{"preferred":%q}}`, name)
		if err := js.Conn().Publish(topology.API+"STREAM.LEADER.STEPDOWN."+stream, []byte(request)); err != nil {
			c.t.Fatalf("let %s lead %s: %v", name, stream, err)
		}
	}
}

// Leader waits until a stream has a leader and returns the number of that server.
func (c *Cluster) Leader(stream string) int {
	c.t.Helper()
	js, done := c.connect(c.URL())
	defer done()
	return c.Number(c.leader(js, stream))
}

// leader waits for a leader. A request to one that was killed is never answered.
func (c *Cluster) leader(js jetstream.JetStream, stream string) string {
	c.t.Helper()
	for until := time.Now().Add(startMost); time.Now().Before(until); {
		try, cancel := context.WithTimeout(c.t.Context(), time.Second)
		s, err := js.Stream(try, stream)
		cancel()
		if err == nil && s.CachedInfo().Cluster.Leader != "" {
			return s.CachedInfo().Cluster.Leader
		}
	}
	c.t.Fatalf("%s has no leader", stream)
	return ""
}

func (c *Cluster) connect(url string) (jetstream.JetStream, func()) {
	c.t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		c.t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	return js, nc.Close
}

// Write publishes the messages that the stopped server has to catch up with, to
// the subjects in turn. A subject that ends in "#" is replaced by hundreds of
// subjects with a number as the last token.
func (l *Lagging) Write(subjects ...string) {
	l.t.Helper()
	messages, size := 24_000, 400
	if Full() {
		messages, size = 90_000, 10<<10
	}
	// A valid message without effects.
	data := fmt.Appendf(nil, `{"type":"ToolStarted","call":"0198c0de-0000-7000-8000-00000000000c","attempt":"0198c0de-0000-7000-8000-00000000000d","tool":"%s"}`, strings.Repeat("x", size))
	js, done := l.connect(l.Node(l.Leader))
	defer done()
	writing, cancel := context.WithTimeout(l.t.Context(), 5*time.Minute)
	defer cancel()
	g, ctx := errgroup.WithContext(writing)
	g.SetLimit(min(256, 4<<20/len(data))) // messages in flight
	for i := range messages {
		subject := subjects[i%len(subjects)]
		if many, is := strings.CutSuffix(subject, "#"); is {
			subject = many + strconv.Itoa(i%1600)
		}
		g.Go(func() error {
			for {
				try, cancel := context.WithTimeout(ctx, 5*time.Second)
				_, err := js.PublishMsg(try, &nats.Msg{Subject: subject, Data: data})
				cancel()
				if err == nil || ctx.Err() != nil {
					return context.Cause(ctx)
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		l.t.Fatal(err)
	}
}
