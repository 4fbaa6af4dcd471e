package topology_test

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/topology"
)

func TestARequestToReadStaysInItsScope(t *testing.T) {
	t.Parallel()
	const one, other = "0198c0de-0000-7000-8000-000000000000", "0198c0de-0000-7000-8000-000000000001"
	plan := topology.Plan{Shards: 2}
	stream := topology.ConvStream(topology.ShardOf(one, 2))
	all := topology.Everything(topology.Conv, 2, one)
	for name, c := range map[string]struct {
		subject, filter string
		ok              bool
	}{
		"its conversation":          {topology.ReadRequest(stream, one), all, true},
		"one lane of it":            {topology.ReadRequest(stream, one), strings.TrimSuffix(all, ">") + "turn", true},
		"in HISTORY":                {topology.ReadRequest("HISTORY", one), topology.Everything(topology.History, 2, one), true},
		"everything, as all":        {topology.ReadRequest("HISTORY", "all"), "", true},
		"everything, as one":        {topology.ReadRequest(stream, one), "", false},
		"another conversation":      {topology.ReadRequest(stream, one), topology.Everything(topology.Conv, 2, other), false},
		"with a wildcard":           {topology.ReadRequest(stream, one), "conv.*.*.in", false},
		"a longer id":               {topology.ReadRequest(stream, one), strings.TrimSuffix(all, ".>") + "x.in", false},
		"jobs":                      {topology.ReadRequest("JOBS", "all"), "", false},
		"objects":                   {topology.ReadRequest(topology.ObjectStream, "all"), "", false},
		"a shard that is not there": {topology.ReadRequest("CONV_2", "all"), "", false},
		"no scope":                  {"read.HISTORY", "", false},
		"a scope that is no id":     {topology.ReadRequest("HISTORY", "x"), "history.0.x.in", false},
	} {
		if got, err := plan.CheckRead(c.subject, c.filter); (err == nil) != c.ok || c.ok && c.subject != topology.ReadRequest(got, topology.ReadScope(c.filter)) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func FuzzCheckRead(f *testing.F) {
	f.Add("read.CONV_0.0198c0de-0000-7000-8000-000000000000", "conv.0.0198c0de-0000-7000-8000-000000000000.in")
	f.Add("read.HISTORY.all", "")
	f.Add("read..", "conv.0..")
	f.Fuzz(func(t *testing.T, subject, filter string) {
		plan := topology.Plan{Shards: 1}
		stream, err := plan.CheckRead(subject, filter)
		if err != nil {
			return
		}
		scope := strings.TrimPrefix(subject, "read."+stream+".")
		if scope != topology.ScopeAll && !strings.Contains(filter, "."+scope+".") {
			t.Errorf("%q may read %q of %s", subject, filter, stream)
		}
	})
}

func FuzzParseUser(f *testing.F) {
	f.Add("tool-worker:payments=charge,refund")
	f.Add("app")
	f.Add("llm-worker=*")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := topology.ParseUser(text, []string{"openai"}, []string{"now"})
		if err != nil {
			return
		}
		u.NKey = "U"
		var out strings.Builder
		cfg := topology.ServerConfig{Users: []topology.User{u}, Listen: "127.0.0.1:4222", Store: "data"}
		if err := cfg.Write(&out); err == nil && strings.Count(out.String(), "{") != strings.Count(out.String(), "}") {
			t.Errorf("%q makes\n%s", text, out.String())
		}
	})
}
