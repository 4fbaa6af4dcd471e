package topology

import (
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// Own compares the configuration of an existing stream with Parley's. It
// returns the existing configuration with the settings that Parley requires
// corrected, and the names of those settings. All others belong to the
// administrator: limits, age, replicas, placement, compression, duplicates.
func Own(have, want jetstream.StreamConfig) (next jetstream.StreamConfig, wrong []string) {
	next = have
	check := func(name string, ok bool, set func()) {
		if !ok {
			wrong = append(wrong, name)
			set()
		}
	}
	check("retention", have.Retention == want.Retention, func() { next.Retention = want.Retention })
	check("acknowledgements", !have.NoAck, func() { next.NoAck = false })
	check("subjects", slices.Equal(have.Subjects, want.Subjects), func() { next.Subjects = want.Subjects })
	check("sources", slices.EqualFunc(have.Sources, want.Sources, sameSource), func() { next.Sources = want.Sources })
	check("republish", sameRePublish(have.RePublish, want.RePublish), func() { next.RePublish = want.RePublish })
	check("direct gets", have.AllowDirect || !want.AllowDirect, func() { next.AllowDirect = true })
	check("schedules", have.AllowMsgSchedules || !want.AllowMsgSchedules, func() { next.AllowMsgSchedules = true })
	check("TTLs of messages", have.AllowMsgTTL || !want.AllowMsgTTL, func() { next.AllowMsgTTL = true })
	check("rollups", !have.AllowRollup || want.AllowMsgSchedules, func() { next.AllowRollup = false })
	check("purges", have.DenyPurge || !want.DenyPurge, func() { next.DenyPurge = true })
	for key, value := range want.Metadata {
		check("metadata "+key, have.Metadata[key] == value, func() {
			next.Metadata = maps.Clone(next.Metadata)
			if next.Metadata == nil {
				next.Metadata = map[string]string{}
			}
			next.Metadata[key] = value
		})
	}
	return next, wrong
}

func sameSource(a, b *jetstream.StreamSource) bool {
	return a.Name == b.Name && a.FilterSubject == b.FilterSubject && slices.Equal(a.SubjectTransforms, b.SubjectTransforms)
}

func sameRePublish(a, b *jetstream.RePublish) bool {
	return a == b || a != nil && b != nil && *a == *b
}
