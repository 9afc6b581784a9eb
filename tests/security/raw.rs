//! Tools that no compiler would make: one core module, written as text, made a component here.

use std::sync::LazyLock;

use ringfence_sandbox::{Engine, Tool};
use ringfence_tests::root;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{
    Resolve, Type, TypeDefKind, WorldId, WorldItem,
    abi::{AbiVariant, WasmSignature, WasmType},
};

/// The contract.
static WIT: LazyLock<(Resolve, WorldId)> = LazyLock::new(|| {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(root().join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("tool")).unwrap();
    (resolve, world)
});

/// Every interface that `wit/` describes, by name and version.
pub(crate) fn interfaces() -> Vec<String> {
    let (resolve, _) = &*WIT;
    resolve.interfaces.iter().filter_map(|(id, _)| resolve.id_of(id)).collect()
}

/// A function that a tool may import.
pub(crate) struct Import {
    interface: String,
    function: String,
    signature: WasmSignature,
    /// Whether a handle is among its parameters.
    pub(crate) wants_handle: bool,
    /// Whether a text or a list goes in or comes out.
    pub(crate) carries_bytes: bool,
}

/// Every function of every interface that the contract lets a tool import.
pub(crate) fn imports() -> impl Iterator<Item = Import> {
    let (resolve, world) = &*WIT;
    resolve.worlds[*world].imports.values().flat_map(move |item| {
        let WorldItem::Interface { id, .. } = item else { panic!("{item:?}") };
        let interface = resolve.id_of(*id).unwrap();
        resolve.interfaces[*id].functions.values().map(move |function| {
            let params = || function.params.iter().map(|param| &param.ty);
            Import {
                interface: interface.clone(),
                function: function.name.clone(),
                signature: resolve.wasm_signature(AbiVariant::GuestImport, function),
                wants_handle: params().any(|of| reaches(resolve, of, &is_handle)),
                carries_bytes: params()
                    .chain(&function.result)
                    .any(|of| reaches(resolve, of, &is_list)),
            }
        })
    })
}

fn is_handle(resolve: &Resolve, of: &Type) -> bool {
    matches!(of, Type::Id(id) if matches!(resolve.types[*id].kind, TypeDefKind::Handle(_)))
}

fn is_list(resolve: &Resolve, of: &Type) -> bool {
    *of == Type::String
        || matches!(of, Type::Id(id) if matches!(resolve.types[*id].kind, TypeDefKind::List(_)))
}

/// Whether a type, or one that it is made of, is such a one.
fn reaches(resolve: &Resolve, of: &Type, such: &dyn Fn(&Resolve, &Type) -> bool) -> bool {
    if such(resolve, of) {
        return true;
    }
    let Type::Id(id) = of else { return false };
    let also = |of: &Type| reaches(resolve, of, such);
    match &resolve.types[*id].kind {
        TypeDefKind::Record(record) => record.fields.iter().any(|field| also(&field.ty)),
        TypeDefKind::Tuple(tuple) => tuple.types.iter().any(also),
        TypeDefKind::Variant(variant) => {
            variant.cases.iter().filter_map(|case| case.ty.as_ref()).any(also)
        }
        TypeDefKind::Result(result) => result.ok.iter().chain(&result.err).any(also),
        TypeDefKind::Option(of) | TypeDefKind::List(of) | TypeDefKind::Type(of) => also(of),
        TypeDefKind::Flags(_) | TypeDefKind::Enum(_) | TypeDefKind::Resource => false,
        TypeDefKind::Handle(_) => false,
        other => panic!("a type that the contract does not have: {other:?}"),
    }
}

impl Import {
    /// `INTERFACE#FUNCTION`, without a version.
    pub(crate) fn name(&self) -> String {
        format!("{}#{}", self.interface.split('@').next().unwrap(), self.function)
    }

    /// As a module imports it, by the name `$tried`.
    pub(crate) fn text(&self) -> String {
        let types = |word: &str, types: &[WasmType]| match types {
            [] => String::new(),
            types => {
                let types: Vec<_> = types.iter().map(|of| core(*of)).collect();
                format!("({word} {})", types.join(" "))
            }
        };
        let (interface, function) = (&self.interface, &self.function);
        let params = types("param", &self.signature.params);
        let results = types("result", &self.signature.results);
        format!("(import \"{interface}\" \"{function}\" (func $tried {params} {results}))")
    }

    /// An act that calls it as often as it is told, with zeros and, where the answer is put
    /// somewhere, a place for it.
    pub(crate) fn body(&self) -> String {
        let zeros = self.signature.params.len() - usize::from(self.signature.retptr);
        self.act(&vec![0; zeros])
    }

    /// The same, handing over a text of so many bytes; `None` if it is handed none.
    pub(crate) fn body_with(&self, bytes: u64) -> Option<String> {
        let params = &self.signature.params;
        let at = params.windows(2).position(|two| two == [WasmType::Pointer, WasmType::Length])?;
        let mut given = vec![0; params.len() - usize::from(self.signature.retptr)];
        (given[at], given[at + 1]) = (2_048, bytes);
        // What may be there is there.
        if at > 0 {
            given[at - 1] = 1;
        }
        Some(self.act(&given))
    }

    fn act(&self, numbers: &[u64]) -> String {
        let params = &self.signature.params;
        let number = |(of, number): (&WasmType, &u64)| format!("({}.const {number})", core(*of));
        let mut given: String = params.iter().zip(numbers).map(number).collect();
        if self.signature.retptr {
            given += "(i32.const 1024)";
        }
        let dropped = "drop ".repeat(self.signature.results.len());
        format!(
            "(func $act (param $n i64) (result i64)
               (loop $next
                 (call $tried {given}) {dropped}
                 (local.set $n (i64.sub (local.get $n) (i64.const 1)))
                 (br_if $next (i64.ne (local.get $n) (i64.const 0))))
               (i64.const 0))"
        )
    }
}

fn core(of: WasmType) -> &'static str {
    match of {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
    }
}

/// What every such tool has besides its own: the number in its arguments goes to `$act`, and the
/// number that this returns is its output, in decimal. Memory below 128 KiB is what this needs and
/// what it allocates; what is above is the act's own. `$say` is the host's `log`, which tells
/// whoever listens that the call runs.
const FRAME: &str = r#"
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (data (i32.const 512) "holding")
  (func $say (call $log (i32.const 2) (i32.const 512) (i32.const 7)))
  (func (export "cabi_realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
    (local $at i32)
    (local.set $at
      (i32.and
        (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $new)))
    (if (i32.gt_u (global.get $heap) (i32.const 131072)) (then unreachable))
    (call $allocated)
    (local.get $at))
  (func $number (param $at i32) (param $length i32) (result i64)
    (local $end i32) (local $digit i32) (local $number i64)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (loop $next
      (if (i32.lt_u (local.get $at) (local.get $end))
        (then
          (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
          (if (i32.lt_u (local.get $digit) (i32.const 10))
            (then
              (local.set $number
                (i64.add
                  (i64.mul (local.get $number) (i64.const 10))
                  (i64.extend_i32_u (local.get $digit))))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $next))))
    (local.get $number))
  (func (export "ringfence:tool/tools@0.1.0#definitions") (result i32) (i32.const 16))
  ;; `ok(done({ content: [text(DIGITS)], structured: none }))`, written at 256.
  (func (export "ringfence:tool/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (local $rest i64) (local $at i32)
    (local.set $rest (call $act (call $number (local.get 2) (local.get 3))))
    (local.set $at (i32.const 432))
    (loop $next
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $rest) (i64.const 10)))))
      (local.set $rest (i64.div_u (local.get $rest) (i64.const 10)))
      (br_if $next (i64.ne (local.get $rest) (i64.const 0))))
    (i32.store (i32.const 268) (i32.const 320))
    (i32.store (i32.const 272) (i32.const 1))
    (i32.store (i32.const 324) (local.get $at))
    (i32.store (i32.const 328) (i32.sub (i32.const 432) (local.get $at)))
    (i32.const 256))
"#;

/// The component of a module with these imports and this body, which has a function
/// `$act (param i64) (result i64)`. Its `$allocated`, if it has one, is called whenever the host has
/// asked for memory.
pub(crate) fn component(imports: &str, body: &str) -> Vec<u8> {
    let log = "(import \"ringfence:tool/context@0.1.0\" \"log\" (func $log (param i32 i32 i32)))";
    let hook = if body.contains("$allocated") { "" } else { "(func $allocated)" };
    let text = format!("(module\n{log}\n{imports}\n{FRAME}\n{body}\n{hook})");
    let mut module = wat::parse_str(&text).unwrap();
    let (resolve, world) = &*WIT;
    embed_component_metadata(&mut module, resolve, *world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// The same, loaded.
pub(crate) fn tool(engine: &Engine, imports: &str, body: &str) -> Tool {
    Tool::load(engine, &component(imports, body)).unwrap()
}

/// The component with further core instances in it, one of each module.
pub(crate) fn beside(mut component: Vec<u8>, modules: &[String]) -> Vec<u8> {
    // The numbers of a component's sections for modules and for their instances.
    const MODULE: u8 = 1;
    const INSTANCE: u8 = 2;
    let first = sections(&component).filter(|section| *section == MODULE).count();
    for (index, module) in (first..).zip(modules) {
        let module = wat::parse_str(module).unwrap();
        // One instance, of this module, with no arguments.
        let mut instance = vec![1, 0];
        leb(&mut instance, index);
        instance.push(0);
        for (id, content) in [(MODULE, module), (INSTANCE, instance)] {
            component.push(id);
            leb(&mut component, content.len());
            component.extend(content);
        }
    }
    component
}

/// The numbers of all sections, in order.
fn sections(component: &[u8]) -> impl Iterator<Item = u8> {
    // Behind the magic number and the version.
    let mut rest = &component[8..];
    std::iter::from_fn(move || {
        let (id, behind) = rest.split_first()?;
        let digits = behind.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        let size = behind[..digits]
            .iter()
            .rev()
            .fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
        rest = &behind[digits + size..];
        Some(*id)
    })
}

fn leb(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}
