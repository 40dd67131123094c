package srs

// route binds an operation of api/compat/srs.yaml to its handler. Handler refuses a
// pattern that differs from the document.
type route struct {
	pattern   string
	operation string
	needs     needs
	// failure is the vendor's code of what the error table has no code for.
	failure int
	handle  func(*edge, *call) error
}

// needs says what a request must bring.
type needs uint8

const (
	nothing  needs = iota
	password       // HTTP Basic
	key            // the key of a session
)

var routes = []route{
	{"GET /api/about", "get-product-about-info", nothing, codeUnknown, (*edge).about},
	{"GET /swagger", "swagger-page", nothing, codeUnknown, (*edge).swaggerPage},
	{"GET /swagger/srs/swagger.json", "swagger", nothing, codeUnknown, (*edge).swagger},

	{"POST /api/auth/login", "login", password, codeUnknown, (*edge).login},
	{"POST /api/auth/logout", "logout", key, codeLogout, (*edge).logout},

	{"POST /api/runspaces", "create-runspace", key, codeUnknown, (*edge).createRunspace},
	{"GET /api/runspaces", "list-runspaces", key, codeRunspaceList, (*edge).listRunspaces},
	{"GET /api/runspaces/{id}", "get-runspace", key, codeUnknown, (*edge).getRunspace},
	{"DELETE /api/runspaces/{id}", "delete-runspace", key, codeRunspaceDelete, (*edge).deleteRunspace},

	{"POST /api/script-executions", "create-script-execution", key, codeScriptRefused, (*edge).createExecution},
	{"GET /api/script-executions", "list-script-executions", key, codeHistory, (*edge).listExecutions},
	{"GET /api/script-executions/{id}", "get-script-execution", key, codeHistory, (*edge).getExecution},
	{"POST /api/script-executions/{id}/cancel", "cancel-script-execution", key, codeCancel, (*edge).cancelExecution},
	{"GET /api/script-executions/{id}/output", "get-script-execution-output", key, codeOutput, (*edge).output},
	{"GET /api/script-executions/{id}/streams/{type}", "get-script-execution-stream", key, codeStream, (*edge).stream},

	{"GET /api/argument-scripts/templates", "list-argument-scripts-templates", key, codeUnknown, (*edge).listTemplates},
	{"GET /api/argument-scripts/templates/{id}", "get-argument-scripts-template", key, codeUnknown, (*edge).getTemplate},
	{"POST /api/argument-scripts/script", "create-argument-scripts-script", key, codeUnknown, (*edge).createScript},

	{"POST /api/webconsoles", "create-webconsole", key, codeUnknown, (*edge).createConsole},
	{"GET /api/webconsoles", "list-webconsoles", key, codeConsoleList, (*edge).listConsoles},
	{"GET /api/webconsoles/{id}", "get-webconsole", key, codeUnknown, (*edge).getConsole},
	{"DELETE /api/webconsoles/{id}", "delete-webconsole", key, codeConsoleDelete, (*edge).deleteConsole},

	{"GET /admin/runspaces/provider-settings", "get-provider-settings", password, codeUnknown, (*edge).providerSettings},
	{"PATCH /admin/runspaces/provider-settings", "update-provider-settings", password, codeUnknown, (*edge).updateProviderSettings},
	{"GET /admin/script-executions/retention-policy", "get-retention-policy", password, codeUnknown, (*edge).retentionPolicy},
	{"PATCH /admin/script-executions/retention-policy", "update-retention-policy", password, codeUnknown, (*edge).updateRetentionPolicy},
	{"GET /admin/logs", "get-logs", password, codeUnknown, (*edge).logs},
	{"GET /admin/vc-registration", "get-vc-registration", password, codeUnknown, (*edge).registration},
	{"POST /admin/vc-registration", "register-vc", password, codeUnknown, (*edge).register},
	{"DELETE /admin/vc-registration", "unregister-vc", password, codeUnknown, (*edge).registration},
}
