package strategy

// route binds an operation of api/compat/strategy.yaml to its handler. Handler
// refuses a pattern that differs from the document.
type route struct {
	pattern   string
	operation string
	needs     needs
	handle    func(*edge, *call) error
}

// needs says what a request must bring.
type needs uint8

const (
	nothing needs = iota
	session       // a token of a session
	project       // that, and X-MSTR-ProjectID
)

var routes = []route{
	{"GET /api/status", "status", nothing, (*edge).status},
	{"GET /api/openapi.yaml", "openapiYAML", nothing, (*edge).openapiYAML},

	{"POST /api/auth/login", "login", nothing, (*edge).login},
	{"POST /api/auth/delegate", "delegate", nothing, (*edge).delegate},
	{"POST /api/auth/logout", "logout", session, (*edge).logout},
	{"GET /api/auth/token", "token", nothing, (*edge).token},
	{"POST /api/auth/identityToken", "createIdentityToken", session, (*edge).createIdentityToken},
	{"GET /api/auth/identityToken", "checkIdentityToken", nothing, (*edge).checkIdentityToken},
	{"POST /api/auth/apiTokens", "createAPIToken", session, (*edge).createAPIToken},
	{"GET /api/sessions", "session", session, (*edge).session},
	{"PUT /api/sessions", "keepSession", session, (*edge).keepSession},
	{"GET /api/sessions/userInfo", "userInfo", session, (*edge).userInfo},
	{"GET /api/sessions/privileges", "privileges", session, (*edge).privileges},
	{"GET /api/projects", "projects", session, (*edge).projects},

	{"GET /api/runtimes", "listRuntimes", session, (*edge).listRuntimes},
	{"POST /api/runtimes", "createRuntime", session, (*edge).createRuntime},
	{"GET /api/runtimes/versions", "runtimeVersions", session, (*edge).runtimeVersions},
	{"GET /api/runtimes/{id}", "getRuntime", session, (*edge).getRuntime},
	{"PATCH /api/runtimes/{id}", "updateRuntime", session, (*edge).updateRuntime},
	{"DELETE /api/runtimes/{id}", "deleteRuntime", session, (*edge).deleteRuntime},

	{"GET /api/scripts", "listScripts", project, (*edge).listScripts},
	{"POST /api/scripts", "createScript", project, (*edge).createScript},
	{"GET /api/scripts/history", "scriptHistory", project, (*edge).scriptHistory},
	{"POST /api/scripts/evaluation", "evaluate", session, (*edge).evaluate},
	{"GET /api/scripts/evaluation/{id}", "getEvaluation", session, (*edge).getEvaluation},
	{"DELETE /api/scripts/evaluation/{id}", "cancelEvaluation", session, (*edge).cancelEvaluation},
	{"GET /api/scripts/{id}", "getScript", project, (*edge).getScript},
	{"PUT /api/scripts/{id}", "updateScript", project, (*edge).updateScript},
	{"DELETE /api/scripts/{id}", "deleteScript", project, (*edge).deleteScript},
	{"POST /api/scripts/{id}/evaluation", "evaluateScript", project, (*edge).evaluateScript},
	{"GET /api/scripts/{id}/variables/answers", "getAnswers", project, (*edge).getAnswers},
	{"POST /api/scripts/{id}/variables/answers", "putAnswers", project, (*edge).putAnswers},
}
