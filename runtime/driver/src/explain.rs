//! Why a tool may or may not do something: decided as a call would be, and not called.

use ringfence_capability::network::is_public;
use ringfence_catalog::Difference;
use ringfence_event::{FunctionName, TenantId};
use ringfence_policy::{Answer, Explanation, Request};

use crate::{Caller, Error, Runtime, ToolRef, tool::Unusable};

impl Runtime {
    /// What the functions of a tool may do for a caller, and by which lines; or one function, or one
    /// request. It speaks of the operator's file, as a run does; a call from the command line may be
    /// given more by its flags.
    ///
    /// # Errors
    /// When there is no such tool or function.
    pub async fn explain(
        &self,
        caller: &Caller,
        tool: &ToolRef,
        function: Option<&FunctionName>,
        request: Option<&Request>,
    ) -> Result<Vec<Explanation>, Error> {
        if let ToolRef::Accepted(name) = tool
            && let Err(Unusable::Changed(difference)) = self.0.tool(&caller.tenant, name).await
        {
            return Ok(self.explain_changed(&difference, function));
        }
        let installed = self.find(&caller.tenant, tool).await?;
        let policy = self.0.policy(&caller.tenant, &installed);
        let functions = installed.entry.functions.iter().map(|function| &function.name);
        let asked: Vec<&FunctionName> = match function {
            None => functions.collect(),
            Some(function) => vec![function],
        };
        let explain = |function| policy.explain(&caller.user, function, request, is_public);
        Ok(asked.into_iter().map(explain).collect())
    }

    /// The functions of a tool.
    ///
    /// # Errors
    /// When there is no such tool.
    pub async fn functions(&self, tool: &ToolRef) -> Result<Vec<FunctionName>, Error> {
        let names = |entry: &crate::Entry| entry.functions.iter().map(|f| f.name.clone()).collect();
        if let ToolRef::Accepted(name) = tool
            && let Some(entry) = self.0.tools.entry(name)
        {
            return Ok(names(&entry));
        }
        Ok(names(&self.find(&TenantId::local(), tool).await?.entry))
    }

    /// No function of a tool that is not what was accepted may be called.
    fn explain_changed(
        &self,
        difference: &Difference,
        function: Option<&FunctionName>,
    ) -> Vec<Explanation> {
        let entry = self.0.tools.entry(&difference.tool);
        let accepted = entry.into_iter().flat_map(|entry| entry.functions);
        let functions = match function {
            Some(function) => vec![function.clone()],
            None => accepted.map(|function| function.name).collect(),
        };
        let explain = |function: FunctionName| Explanation {
            call: Answer::Denied(difference.denial(&function)),
            function,
            effect: None,
            holds: vec![],
            asked: None,
            open: vec![],
            shut: vec![],
        };
        functions.into_iter().map(explain).collect()
    }
}
