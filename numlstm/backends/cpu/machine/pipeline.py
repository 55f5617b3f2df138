"""How Numba compiles kernels here: with fewer passes than usual, and LLVM optimises a kernel once, when it is whole."""

from __future__ import annotations

from typing import Any

from numba import _dynfunc, types  # type: ignore[attr-defined]
from numba.core import typed_passes, untyped_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import AnalysisPass, LoweringPass, PassManager, register_pass
from numba.core.typed_passes import NoPythonBackend


@register_pass(mutates_CFG=False, analysis_only=True)
class LettingGo(AnalysisPass):
    """Let go of what variables hold after their last use, where references to it are counted."""

    _name = "numlstm_letting_go"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        models = state.targetctx.data_model_manager
        counted = any(models[kind].contains_nrt_meminfo() for kind in set(state.typemap.values()))
        return typed_passes.IRLegalization().run_pass(state) if counted else False


LOWERED: tuple[Any, ...] = (  # of Numba's own, those that kernels need: they have no closures, and no array expressions
    untyped_passes.TranslateByteCode,
    untyped_passes.FixupArgs,
    untyped_passes.DeadBranchPrune,
    untyped_passes.GenericRewrites,
    untyped_passes.ReconstructSSA,
    typed_passes.NopythonTypeInference,
    typed_passes.PreLowerStripPhis,
    LettingGo,
    typed_passes.NativeLowering,
)


@register_pass(mutates_CFG=False, analysis_only=True)
class Registration(LoweringPass):
    """Let kernels call a function that Python cannot call."""

    _name = "numlstm_registration"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        lowered, library = state["cr"], state.library
        name = lowered.fndesc.qualname
        stub = _dynfunc.make_function(lowered.fndesc.lookup_module(), name, name, 0, lowered.env, (library,))
        state.targetctx.insert_user_function(stub, lowered.fndesc, [library])
        state["cr"] = lowered._replace(cfunc=stub)
        return True


class _Code(JITCodeLibrary):
    """LLVM code that is not optimised before it is whole."""

    def add_llvm_module(self, ll_module: Any) -> None:
        self._final_module.link_in(ll_module)

    def libraries(self) -> dict[Any, None]:
        """The libraries that the code needs, and those that its parts need: each once."""
        found: dict[Any, None] = {}
        for library in self._linking_libraries:
            if library not in found:
                found[library] = None
                if isinstance(library, PartCode):
                    found |= library.libraries()
        return found

    def link_into(self, module: Any) -> None:
        """Add the code of these libraries to a module."""
        for library in self.libraries():
            part = library._final_module if isinstance(library, PartCode) else library._get_module_for_linking()
            module.link_in(part, preserve=True)


class PartCode(_Code):
    """The code of a function that becomes part of kernels: by itself it is not optimised, and no machine code."""

    def finalize(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration:
                function.linkage = "linkonce_odr"  # several parts of a kernel may bring it along
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        """The code with all that it needs, for a function of a user that calls it."""
        if self._shared_module is None:
            self._shared_module = self._final_module.clone()
            self.link_into(self._shared_module)
        return self._shared_module


class ApartCode(PartCode):
    """The code of a function that stays one in kernels."""

    def add_ir_module(self, ir_module: Any) -> None:
        for function in ir_module.functions:
            if not function.is_declaration:
                function.attributes.add("noinline")
        super().add_ir_module(ir_module)


class KernelCode(_Code):
    """The code of a kernel with all its parts."""

    def finalize(self) -> None:
        self.link_into(self._final_module)
        self._linking_libraries = []
        super().finalize()

    def _optimize_final_module(self) -> None:
        if any(function.name == "NRT_incref" for function in self._final_module.functions):
            super()._optimize_final_module()  # it counts references of arrays, and Numba removes most of that first
            return
        # Such kernels write their vectors themselves: more passes take longer, and make them no faster.
        passes, builder = self._codegen._module_pass_manager(opt=1, loop_vectorize=False, slp_vectorize=False)
        passes.run(self._final_module, builder)


class _Typing:
    """Numba's typing context, but it remembers the types of functions of numbers: most of what is in kernels."""

    def __init__(self, context: Any) -> None:
        self.context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self.context, name)

    def resolve_function_type(self, function: Any, arguments: Any, named: Any) -> Any:
        """The signature of a call."""
        if named or not isinstance(function, types.Function) or not all(isinstance(a, types.Number) for a in arguments):
            return self.context.resolve_function_type(function, arguments, named)
        key = function, tuple(arguments)
        if key not in _signatures:
            _signatures[key] = self.context.resolve_function_type(function, arguments, named)
        return _signatures[key]


_signatures: dict[Any, Any] = {}


class _Compiler(CompilerBase):
    """Numba's compiler with these passes."""

    code: type[_Code]
    passes = (*LOWERED, NoPythonBackend)

    def define_pipelines(self) -> list[PassManager]:
        state = self.state
        state.typingctx = _Typing(state.typingctx)
        state.library = self.code(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        passes = PassManager("numlstm")
        for each in self.passes:
            passes.add_pass(each, each.__name__)
        passes.finalize()
        return [passes]


class PartCompiler(_Compiler):
    """Compiles functions that become parts of kernels."""

    code = PartCode
    passes = (*LOWERED, Registration, NoPythonBackend)

    def define_pipelines(self) -> list[PassManager]:
        self.state.flags.no_compile = True
        return super().define_pipelines()


class ApartCompiler(PartCompiler):
    """Compiles functions that stay apart from the kernels that call them."""

    code = ApartCode


class KernelCompiler(_Compiler):
    """Compiles kernels."""

    code = KernelCode
