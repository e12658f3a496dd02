//! The interpreter, with its limits and with what scripts can reach.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage,
    BasicStringPackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, Module, NativeCallContext, Position, Scope};

use super::object::{Fallible, List, Thing, World, wrong};
use super::table::{CLASSES, Kind};
use super::{EvalError, Evaluated, Limits, help, show};
use crate::telemetry::process::resident;
use crate::telemetry::snapshot::Snapshot;

/// Bytes of a text.
pub(super) const TEXT: usize = 64 * 1024;
/// Elements of an array, those of arrays in it included.
pub(super) const ARRAY: usize = 20_000;
/// Keys of a map.
pub(super) const MAP: usize = 256;
/// Variables at a time.
pub(super) const VARIABLES: usize = 256;
/// Functions that are being called.
pub(super) const CALLS: usize = 32;
/// Of expressions within one another.
const DEPTH: usize = 64;
/// Between two looks at the memory, while it has not grown much. A look costs as much as some operations, and one of these
/// takes a MiB at most.
const LOOK_EVERY: u64 = 8;
/// From here on memory is looked at with every operation.
const GROWN: u64 = 8 << 20;

pub(super) fn run(script: &str, snapshot: Arc<Snapshot>, limits: &Limits) -> Result<Evaluated, EvalError> {
    let world = World::new(snapshot);
    let engine = engine(&world, *limits);
    let ast = engine.compile(script)?;
    let value = engine.eval_ast_with_scope::<Dynamic>(&mut Scope::new(), &ast)?;
    let (value, printed) = (show::show(&value), world.printed.borrow().finish());
    Ok(Evaluated { value, printed, commands: world.commands.take() })
}

pub(super) fn check(script: &str) -> Result<(), EvalError> {
    let engine = engine(&World::new(Arc::default()), Limits::default());
    engine.compile(script)?;
    Ok(())
}

/// Without the package of the language's core: it can sleep.
fn engine(world: &Rc<World>, limits: Limits) -> Engine {
    let mut engine = Engine::new_raw();
    ArithmeticPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicFnPackage::new().register_into_engine(&mut engine);
    BasicIteratorPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    BasicStringPackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);
    limit(&mut engine, limits);
    speak(&mut engine, world);
    replacements(&mut engine);
    objects(&mut engine, world);
    lists(&mut engine);
    methods(&mut engine);
    engine
}

fn limit(engine: &mut Engine, limits: Limits) {
    engine.disable_symbol("eval");
    // A function that holds values can hold another such function, and so on, past every limit on sizes.
    engine.disable_symbol("curry");
    engine.set_max_string_size(TEXT);
    engine.set_max_array_size(ARRAY);
    engine.set_max_map_size(MAP);
    engine.set_max_variables(VARIABLES);
    engine.set_max_call_levels(CALLS);
    engine.set_max_expr_depths(DEPTH, DEPTH);
    let (started, before) = (Instant::now(), resident().unwrap_or(0));
    // The interpreter's own count begins anew in every function that a native one calls.
    let (operations, grown) = (Cell::new(0_u64), Cell::new(0_u64));
    engine.on_progress(move |_| {
        operations.set(operations.get() + 1);
        if operations.get() > limits.operations {
            return Some(format!("the script takes more than {} operations", limits.operations).into());
        }
        if started.elapsed() > limits.time {
            return Some(format!("the script takes longer than {:?}", limits.time).into());
        }
        if grown.get() > GROWN || operations.get().is_multiple_of(LOOK_EVERY) {
            grown.set(resident().unwrap_or(0).saturating_sub(before));
        }
        let full = grown.get() > limits.memory;
        full.then(|| format!("the agent's memory grew by {} MiB while the script ran", limits.memory >> 20).into())
    });
}

fn speak(engine: &mut Engine, world: &Rc<World>) {
    let to = Rc::clone(world);
    engine.on_print(move |line| to.printed.borrow_mut().line(line));
    let to = Rc::clone(world);
    engine.on_debug(move |line, _, _| to.printed.borrow_mut().line(line));
    engine.register_fn("help", help::all);
    engine.register_fn("help", |of: Dynamic| {
        let list = of.read_lock::<List>().map(|list| list.kind);
        match list.or_else(|| of.read_lock::<Thing>().map(|thing| thing.kind)) {
            Some(kind) => Ok(help::one(kind.class(), list.is_some())),
            None => Err(wrong(format!("help is about an object, as in help(shards), not about {}", of.type_name()))),
        }
    });
    let to = Rc::clone(world);
    engine.register_fn("command", move |line: &str| to.command(line));
}

/// In place of the interpreter's own, which look at the size of a text only when it is there: 64 KiB of one letter, each
/// replaced by 64 KiB, would be 4 GiB.
fn replacements(engine: &mut Engine) {
    engine.register_fn("replace", |text: &mut ImmutableString, old: &str, new: &str| replace(text, old, new));
    engine.register_fn("replace", |text: &mut ImmutableString, old: char, new: &str| {
        replace(text, old.encode_utf8(&mut [0; 4]), new)
    });
}

fn replace(text: &mut ImmutableString, old: &str, new: &str) -> Fallible<()> {
    if text.matches(old).count().saturating_mul(new.len()) > TEXT {
        return Err(EvalAltResult::ErrorDataTooLarge("Length of string".to_owned(), Position::NONE).into());
    }
    *text = text.replace(old, new).into();
    Ok(())
}

fn objects(engine: &mut Engine, world: &Rc<World>) {
    engine.register_type_with_name::<Thing>("object").register_type_with_name::<List>("list");
    engine.register_indexer_get(|thing: &mut Thing, name: &str| thing.get(name));
    engine.register_indexer_set(|thing: &mut Thing, name: &str, value: Dynamic| thing.set(name, &value));
    engine.register_indexer_get(|list: &mut List, name: &str| list.named(name));
    engine.register_indexer_get(|list: &mut List, index: i64| list.index(index));
    engine.register_indexer_set(|list: &mut List, name: &str, value: Dynamic| list.set(name, &value));
    engine.register_iterator::<List>();
    for name in ["to_string", "to_debug"] {
        engine.register_fn(name, |thing: &mut Thing| thing.to_string());
        engine.register_fn(name, |list: &mut List| list.to_string());
    }
    let mut module = Module::new();
    module.set_var("gateway", world.thing(Kind::Gateway));
    module.set_var("resharding", world.thing(Kind::Resharding));
    for (name, kind) in
        [("shards", Kind::Shard), ("sinks", Kind::Sink), ("stages", Kind::Stage), ("fleet", Kind::Agent)]
    {
        module.set_var(name, world.list(kind));
    }
    engine.register_global_module(module.into());
}

fn lists(engine: &mut Engine) {
    engine.register_fn("len", |list: &mut List| i64::try_from(list.at.len()).unwrap_or(i64::MAX));
    engine.register_fn("is_empty", |list: &mut List| list.at.is_empty());
    with_function(engine, "filter", |call, list| {
        let kept = list.things().map(|thing| Ok((thing.at, call.says(thing)?))).collect::<Fallible<Vec<_>>>()?;
        Ok(Dynamic::from(list.with(kept.into_iter().filter(|(_, keep)| *keep).map(|(at, _)| at))))
    });
    with_function(engine, "map", |call, list| {
        if list.at.len() > ARRAY {
            return Err(wrong(format!("an array has {ARRAY} elements at most: choose fewer first")));
        }
        Ok(list.things().map(|thing| call.of(thing)).collect::<Fallible<Array>>()?.into())
    });
    with_function(engine, "find", |call, list| Ok(first(call, list, true)?.map_or(Dynamic::UNIT, Dynamic::from)));
    with_function(engine, "some", |call, list| Ok(first(call, list, true)?.is_some().into()));
    with_function(engine, "all", |call, list| Ok(first(call, list, false)?.is_none().into()));
    engine.register_fn("sum", |list: &mut List, name: &str| sum(list, name));
    engine.register_fn("top", |list: &mut List, name: &str, count: i64| top(list, name, count));
}

/// A script's function, to be called with each object of a list, and with what it was given besides.
struct Callback<'a> {
    context: &'a NativeCallContext<'a>,
    function: &'a FnPtr,
    with: Option<Dynamic>,
}

impl Callback<'_> {
    fn of(&self, thing: Thing) -> Fallible<Dynamic> {
        let arguments: Vec<Dynamic> = [Dynamic::from(thing)].into_iter().chain(self.with.clone()).collect();
        self.function.call_raw(self.context, None, arguments)
    }

    fn says(&self, thing: Thing) -> Fallible<bool> {
        let said = self.of(thing)?;
        said.as_bool().map_err(|kind| wrong(format!("the function is to say true or false, not {kind}")))
    }
}

/// A list's function that takes a script's function, alone or with a value that it is given besides.
fn with_function(engine: &mut Engine, name: &str, run: fn(&Callback<'_>, &List) -> Fallible<Dynamic>) {
    engine.register_fn(name, move |context: NativeCallContext<'_>, list: &mut List, function: FnPtr| {
        run(&Callback { context: &context, function: &function, with: None }, list)
    });
    engine.register_fn(name, move |context: NativeCallContext<'_>, list: &mut List, function: FnPtr, with: Dynamic| {
        run(&Callback { context: &context, function: &function, with: Some(with) }, list)
    });
}

/// The first of which the function says `wanted`.
fn first(call: &Callback<'_>, list: &List, wanted: bool) -> Fallible<Option<Thing>> {
    for thing in list.things() {
        if call.says(thing.clone())? == wanted {
            return Ok(Some(thing));
        }
    }
    Ok(None)
}

/// What a field says of each; nothing counts as 0.
fn numbers(list: &List, name: &str) -> Fallible<Vec<i64>> {
    let field = list.field(name)?;
    let number = |thing: Thing| match thing.value(field) {
        value if value.is_unit() => Ok(0),
        value => value.as_int().map_err(|kind| wrong(format!("{name} is no number but {kind}"))),
    };
    list.things().map(number).collect()
}

fn sum(list: &List, name: &str) -> Fallible<i64> {
    Ok(numbers(list, name)?.into_iter().fold(0, i64::saturating_add))
}

fn top(list: &List, name: &str, count: i64) -> Fallible<List> {
    let numbers = numbers(list, name)?;
    let mut order: Vec<_> = numbers.into_iter().zip(list.at.iter().copied()).collect();
    order.sort_by_key(|(number, at)| (std::cmp::Reverse(*number), *at));
    let count = usize::try_from(count).unwrap_or(0);
    Ok(list.with(order.into_iter().take(count).map(|(_, at)| at)))
}

/// Every method of the table, for each number of arguments; which object has which is the objects' to say.
fn methods(engine: &mut Engine) {
    let of = |class: &'static super::table::Class| {
        let methods = class.methods.iter().map(|method| (method.name, method.arguments.len()));
        methods.chain(class.later.iter().map(|later| (later.name, 1)))
    };
    let calls: BTreeSet<(&'static str, usize)> = CLASSES.iter().flat_map(of).collect();
    for (name, count) in calls {
        match count {
            0 => {
                engine.register_fn(name, move |thing: &mut Thing| thing.call(name, &[]));
                engine.register_fn(name, move |list: &mut List| list.call(name, &[]));
            }
            1 => {
                engine.register_fn(name, move |thing: &mut Thing, a: Dynamic| thing.call(name, &[a]));
                engine.register_fn(name, move |list: &mut List, a: Dynamic| list.call(name, &[a]));
            }
            _ => {
                engine.register_fn(name, move |thing: &mut Thing, a: Dynamic, b: Dynamic| thing.call(name, &[a, b]));
                engine.register_fn(name, move |list: &mut List, a: Dynamic, b: Dynamic| list.call(name, &[a, b]));
            }
        }
    }
}
