package openairesponses

import (
	"cmp"
	"encoding/base64"
	"strings"

	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/transcript"
)

// mostMedia bounds an image or a file, in bytes: OpenAI takes 50 MB in a request.
const mostMedia = 20 << 20

// takes returns what the host takes. Images in the output of a call and PDFs are
// OpenAI's own: other servers of this API parse the output as a string.
//
// Source: https://platform.openai.com/docs/api-reference/responses/create (input)
func (p *Provider) takes() *transcript.Media {
	m := &transcript.Media{Images: mostMedia}
	if llm.IsOpenAI(p.baseURL) {
		m.PDFs, m.Results = mostMedia, true
	}
	return m
}

// userItems returns the item of a user's message; none if it is empty.
func userItems(m *events.Message) responses.ResponseInputParam {
	var texts []string
	var content responses.ResponseInputMessageContentListParam
	flush := func() {
		if len(texts) > 0 {
			content = append(content, responses.ResponseInputContentParamOfInputText(strings.Join(texts, "\n\n")))
			texts = nil
		}
	}
	for i := range m.Parts {
		part := &m.Parts[i]
		switch part.Kind {
		case events.PartImage:
			flush()
			content = append(content, responses.ResponseInputContentUnionParam{OfInputImage: &responses.ResponseInputImageParam{
				Detail: responses.ResponseInputImageDetailAuto, ImageURL: param.NewOpt(dataURL(part))}})
		case events.PartFile:
			flush()
			content = append(content, responses.ResponseInputContentUnionParam{OfInputFile: &responses.ResponseInputFileParam{
				Filename: param.NewOpt(cmp.Or(part.Name, "file.pdf")), FileData: param.NewOpt(dataURL(part))}})
		default:
			if part.Text != "" {
				texts = append(texts, part.Text)
			}
		}
	}
	switch {
	case len(content) > 0:
		flush()
		return responses.ResponseInputParam{responses.ResponseInputItemParamOfMessage(content, responses.EasyInputMessageRoleUser)}
	case len(texts) > 0:
		return responses.ResponseInputParam{responses.ResponseInputItemParamOfMessage(strings.Join(texts, "\n\n"), responses.EasyInputMessageRoleUser)}
	}
	return nil
}

// results returns the items of results. Images that follow a result are part of its
// output.
func results(m *events.Message, ids *callIDs) responses.ResponseInputParam {
	var items responses.ResponseInputParam
	for i := range m.Parts {
		if m.Parts[i].Kind != events.PartResult {
			continue
		}
		var images []*events.Part
		for j := i + 1; j < len(m.Parts) && m.Parts[j].Kind == events.PartImage; j++ {
			images = append(images, &m.Parts[j])
		}
		items = append(items, result(&m.Parts[i], images, ids))
	}
	return items
}

// output returns the output of a call with its images.
func output(text string, images []*events.Part) responses.ResponseFunctionCallOutputItemListParam {
	var list responses.ResponseFunctionCallOutputItemListParam
	if text != "" {
		list = append(list, responses.ResponseFunctionCallOutputItemUnionParam{OfInputText: &responses.ResponseInputTextContentParam{Text: text}})
	}
	for _, image := range images {
		list = append(list, responses.ResponseFunctionCallOutputItemUnionParam{OfInputImage: &responses.ResponseInputImageContentParam{
			Detail: responses.ResponseInputImageContentDetailAuto, ImageURL: param.NewOpt(dataURL(image))}})
	}
	return list
}

func dataURL(p *events.Part) string {
	return "data:" + p.MIME + ";base64," + base64.StdEncoding.EncodeToString(p.Data)
}
