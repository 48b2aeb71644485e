package reloads

func decodeReload(data []byte) (*Reload, error) {
	var d decoder
	d.reset(data)
	return d.reload()
}
func decodePage(data []byte) (pageBody, error) {
	var d decoder
	d.reset(data)
	return d.page()
}
func decodeErrorBody(data []byte) ([]ErrorDetail, string, bool) {
	var d decoder
	d.reset(data)
	b, ok := d.errors()
	return b.details, b.traceID, ok
}

const maxLimit = maxPageSize
