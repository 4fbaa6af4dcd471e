package topology_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// expression matches the subjects of a template.
func expression(template string) *regexp.Regexp {
	parameter := regexp.MustCompile(`\\\{[a-z]+\\\}`)
	return regexp.MustCompile("^" + parameter.ReplaceAllString(regexp.QuoteMeta(template), "([^.]+)") + "$")
}

func TestEverySubjectHasItsTemplate(t *testing.T) {
	must := func(subject string, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return subject
	}
	made := map[string]string{
		topology.TemplateGenerationJob: must(topology.GenerationJob("openai/gpt-5-mini", call)),
		topology.TemplateToolJob:       must(topology.ToolJob("clock", call)),
		topology.TemplateLowToolJob:    must(topology.LowToolJob("clock", call)),
		topology.TemplateHook:          must(topology.HookSubject(events.HookBefore, "memory")),
		topology.TemplateTimer:         topology.Timer(8, conversation),
		topology.TemplateDue:           topology.Due(8, conversation),
		topology.TemplateDead:          topology.DeadSubject("x"),
		topology.TemplateProbe:         topology.Probe(3),
		topology.TemplateRead:          topology.ReadRequest("CONV_0", conversation),
		topology.TemplateQueue:         topology.QueueRequest("tool_clock"),
		topology.TemplateWake:          topology.Wake(3),
	}
	for _, log := range []topology.Log{topology.Conv, topology.Live, topology.History} {
		for _, channel := range topology.Channels(log) {
			a := topology.At(8, conversation, channel)
			if channel == events.ChannelCall || channel == events.ChannelOut {
				a.Call = call
			}
			made[topology.LogTemplate(log, channel)] = a.Subject(log)
		}
	}
	for _, template := range topology.Templates() {
		subject, ok := made[template]
		if !ok || !expression(template).MatchString(subject) {
			t.Errorf("template %s: subject %q", template, subject)
		}
		delete(made, template)
	}
	if len(made) > 0 {
		t.Errorf("templates that are not listed: %v", made)
	}
}

func TestHistoryHoldsItsChannels(t *testing.T) {
	var patterns []string
	for _, channel := range topology.Channels(topology.History) {
		patterns = append(patterns, strings.TrimPrefix(topology.LogTemplate(topology.History, channel), "history.{shard}.{conversation}."))
	}
	facts := topology.FactChannels()
	for i := range facts {
		facts[i] = strings.Replace(facts[i], "*", "{call}", 1)
	}
	if !slices.Equal(patterns, facts) {
		t.Errorf("channels %v, facts %v", patterns, facts)
	}
}

func TestPatterns(t *testing.T) {
	if got := topology.LiveOfChannel(events.ChannelTurn); got != "live.*.*.turn" {
		t.Errorf("live decisions: %s", got)
	}
	for subject, want := range map[string]string{"conv.3." + conversation + ".in": "CONV_3", "jobs.llm.openai." + call: topology.StreamJobs, "other": "other"} {
		if got := topology.StreamOf(subject); got != want {
			t.Errorf("stream of %s: %s, want %s", subject, got, want)
		}
	}
	if !topology.InLog("conv.0.probe") || topology.InLog("convoy.0") {
		t.Error("InLog is wrong")
	}
}

func TestConsumersReadBack(t *testing.T) {
	for durable, want := range map[string]struct {
		kind, name string
		low, ok    bool
	}{
		"llm_openai": {"llm", "openai", false, true}, "tool_a_b": {"tool", "a_b", false, true}, "toollow_clock": {"tool", "clock", true, true},
		"stranger": {"stranger", "", false, false}, "mail_clock": {"mail", "clock", false, false},
	} {
		kind, name, low, ok := topology.ParseConsumer(durable)
		if kind != want.kind || name != want.name || low != want.low || ok != want.ok {
			t.Errorf("%s is %s %s %t %t", durable, kind, name, low, ok)
		}
		if ok && topology.Consumer(kind, name, low) != durable {
			t.Errorf("%s is made as %s", durable, topology.Consumer(kind, name, low))
		}
	}
}

func TestStoreSubjects(t *testing.T) {
	bucket := topology.BucketPresence
	if s := topology.EntrySubject(bucket, "llm.x.y"); s != "$KV.PARLEY_PRESENCE.llm.x.y" || topology.EntryKey(bucket, s) != "llm.x.y" || topology.BucketStream(bucket) != "KV_PARLEY_PRESENCE" {
		t.Errorf("entry %s, key %s", s, topology.EntryKey(bucket, s))
	}
	s := topology.ObjectSubject("a/b?c")
	if name, err := topology.ObjectName(s); err != nil || name != "a/b?c" || !strings.HasPrefix(s, strings.TrimSuffix(topology.AllObjects, ">")) {
		t.Errorf("object %s, name %q, %v", s, name, err)
	}
	if got := topology.ChunksSubject("x"); got != "$O.PARLEY_OBJECTS.C.x" {
		t.Errorf("chunks %s", got)
	}
}
