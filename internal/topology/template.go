package topology

import (
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// Templates of the subjects outside the logs, with parameters in braces.
const (
	TemplateGenerationJob = "jobs.llm.{route}.{generation}"
	TemplateToolJob       = "jobs.tool.{tool}.{call}"
	TemplateLowToolJob    = "jobs.tool.{tool}.low.{call}"
	TemplateHook          = "hooks.{when}.{hook}"
	TemplateTimer         = "timer.{shard}.{conversation}.next"
	TemplateDue           = "due.{shard}.{conversation}"
	TemplateDead          = "dead.{subject}"
	TemplateProbe         = "conv.{shard}.probe"
	TemplateRead          = "read.{stream}.{scope}"
	TemplateQueue         = "queue.{queue}"
	TemplateWake          = "wake.{shard}"
)

// LogTemplate returns the template of a channel in a log, with parameters in
// braces.
func LogTemplate(log Log, channel events.Channel) string {
	t := string(log) + ".{shard}.{conversation}." + string(channel)
	if channel == events.ChannelCall || channel == events.ChannelOut {
		t += ".{call}"
	}
	return t
}

// Channels returns the channels of a log: HISTORY holds fewer than the others.
func Channels(log Log) []events.Channel {
	if log == History {
		return []events.Channel{events.ChannelIn, events.ChannelTurn, events.ChannelCall}
	}
	return []events.Channel{events.ChannelIn, events.ChannelTurn, events.ChannelGen, events.ChannelCall, events.ChannelOut}
}

// Templates returns the templates of all subjects that Parley uses.
func Templates() []string {
	var all []string
	for _, log := range []Log{Conv, Live, History} {
		for _, channel := range Channels(log) {
			all = append(all, LogTemplate(log, channel))
		}
	}
	return append(all, TemplateGenerationJob, TemplateToolJob, TemplateLowToolJob, TemplateHook,
		TemplateTimer, TemplateDue, TemplateDead, TemplateProbe, TemplateRead, TemplateQueue, TemplateWake)
}

// pattern replaces each parameter of a template by a wildcard.
func pattern(template string) string {
	tokens := strings.Split(template, ".")
	for i, token := range tokens {
		if strings.HasPrefix(token, "{") {
			tokens[i] = "*"
		}
	}
	return strings.Join(tokens, ".")
}

// fill replaces the parameters of a template by values, in order; there must be
// one for each.
func fill(template string, values ...string) string {
	var b strings.Builder
	for _, value := range values {
		before, rest, _ := strings.Cut(template, "{")
		_, template, _ = strings.Cut(rest, "}")
		b.WriteString(before)
		b.WriteString(value)
	}
	b.WriteString(template)
	return b.String()
}
