package native

// route binds an operation of api/openapi.yaml to its handler. The pattern is
// repeated here so that this table can be read alone; Handler refuses one that
// differs from the document.
type route struct {
	pattern   string
	operation string
	handle    func(*edge, *call) error
}

var routes = []route{
	{"POST /v1/executions", "createExecution", (*edge).createExecution},
	{"GET /v1/executions", "listExecutions", (*edge).listExecutions},
	{"GET /v1/executions/{execution}", "getExecution", (*edge).getExecution},
	{"POST /v1/executions/{execution}/cancel", "cancelExecution", (*edge).cancelExecution},
	{"GET /v1/executions/{execution}/output", "getExecutionOutput", (*edge).getExecutionOutput},
	{"GET /v1/executions/{execution}/streams/{stream}", "getStream", (*edge).getStream},
	{"GET /v1/executions/{execution}/objects", "getObjects", (*edge).getObjects},
	{"GET /v1/executions/{execution}/text", "getText", (*edge).getText},

	{"POST /v1/runspaces", "createRunspace", (*edge).createRunspace},
	{"GET /v1/runspaces", "listRunspaces", (*edge).listRunspaces},
	{"GET /v1/runspaces/{runspace}", "getRunspace", (*edge).getRunspace},
	{"DELETE /v1/runspaces/{runspace}", "deleteRunspace", (*edge).deleteRunspace},
	{"POST /v1/runspaces/{runspace}/interrupt", "interruptRunspace", (*edge).interruptRunspace},
	{"POST /v1/runspaces/{runspace}/reset", "resetRunspace", (*edge).resetRunspace},
	{"POST /v1/runspaces/{runspace}/executions", "createRunspaceExecution", (*edge).createRunspaceExecution},
	{"GET /v1/runspaces/{runspace}/stream", "streamExecutions", (*edge).streamExecutions},
	{"POST /v1/runspaces/{runspace}/terminals", "createTerminal", (*edge).createTerminal},
	{"GET /v1/runspaces/{runspace}/terminals", "listTerminals", (*edge).listTerminals},
	{"GET /v1/terminals/{terminal}", "getTerminal", (*edge).getTerminal},
	{"DELETE /v1/terminals/{terminal}", "deleteTerminal", (*edge).deleteTerminal},
	{"POST /v1/terminals/{terminal}/tickets", "createTerminalTicket", (*edge).createTerminalTicket},
	{"GET /v1/terminals/{terminal}/connection", "connectTerminal", (*edge).connectTerminal},
	{"GET /v1/runspaces/{runspace}/files", "listFiles", (*edge).listFiles},
	{"GET /v1/runspaces/{runspace}/files/{path...}", "readFile", (*edge).readFile},
	{"PUT /v1/runspaces/{runspace}/files/{path...}", "writeFile", (*edge).writeFile},
	{"DELETE /v1/runspaces/{runspace}/files/{path...}", "deleteFile", (*edge).deleteFile},

	{"POST /v1/runtimes", "createRuntime", (*edge).createRuntime},
	{"GET /v1/runtimes", "listRuntimes", (*edge).listRuntimes},
	{"GET /v1/runtimes/{runtime}", "getRuntime", (*edge).getRuntime},
	{"PATCH /v1/runtimes/{runtime}", "updateRuntime", (*edge).updateRuntime},
	{"DELETE /v1/runtimes/{runtime}", "deleteRuntime", (*edge).deleteRuntime},
	{"POST /v1/runtimes/{runtime}/rebuild", "rebuildRuntime", (*edge).rebuildRuntime},
	{"GET /v1/runtimes/{runtime}/builds", "listBuilds", (*edge).listBuilds},
	{"GET /v1/runtimes/{runtime}/builds/{generation}", "getBuild", (*edge).getBuild},
	{"GET /v1/runtimes/{runtime}/builds/{generation}/log", "getBuildLog", (*edge).getBuildLog},
	{"GET /v1/versions", "listVersions", (*edge).listVersions},

	{"POST /v1/scripts", "createScript", (*edge).createScript},
	{"GET /v1/scripts", "listScripts", (*edge).listScripts},
	{"GET /v1/scripts/{script}", "getScript", (*edge).getScript},
	{"PATCH /v1/scripts/{script}", "updateScript", (*edge).updateScript},
	{"DELETE /v1/scripts/{script}", "deleteScript", (*edge).deleteScript},
	{"GET /v1/argument-templates", "listArgumentTemplates", (*edge).listArgumentTemplates},
	{"GET /v1/argument-templates/{template}", "getArgumentTemplate", (*edge).getArgumentTemplate},
	{"POST /v1/argument-templates/{template}/fill", "fillArgumentTemplate", (*edge).fillArgumentTemplate},

	{"POST /v1/tokens", "createToken", (*edge).createToken},
	{"GET /v1/tokens", "listTokens", (*edge).listTokens},
	{"DELETE /v1/tokens/{token}", "revokeToken", (*edge).revokeToken},
	{"GET /v1/whoami", "whoami", (*edge).whoami},

	{"POST /v1/organizations", "createOrganization", (*edge).createOrganization},
	{"GET /v1/organizations", "listOrganizations", (*edge).listOrganizations},
	{"GET /v1/organizations/{organization}", "getOrganization", (*edge).getOrganization},
	{"PATCH /v1/organizations/{organization}", "updateOrganization", (*edge).updateOrganization},
	{"GET /v1/organizations/{organization}/limits", "getLimits", (*edge).getLimits},
	{"PATCH /v1/organizations/{organization}/limits", "updateLimits", (*edge).updateLimits},
	{"GET /v1/organizations/{organization}/members", "listMembers", (*edge).listMembers},
	{"PUT /v1/organizations/{organization}/members/{user}", "putMember", (*edge).putMember},
	{"DELETE /v1/organizations/{organization}/members/{user}", "removeMember", (*edge).removeMember},

	{"POST /v1/users", "createUser", (*edge).createUser},
	{"GET /v1/users", "listUsers", (*edge).listUsers},
	{"GET /v1/users/{user}", "getUser", (*edge).getUser},
	{"PATCH /v1/users/{user}", "updateUser", (*edge).updateUser},

	{"GET /healthz", "healthz", (*edge).healthz},
	{"GET /readyz", "readyz", (*edge).readyz},
	{"GET /metrics", "metrics", (*edge).metrics},
	{"GET /openapi.json", "openapiJSON", (*edge).openapiJSON},
	{"GET /openapi.yaml", "openapiYAML", (*edge).openapiYAML},
	{"GET /docs", "docs", (*edge).docs},
}
