"""A function that XLA calls on a CPU, as LLVM code: a parallel loop over XLA's own threads.

XLA runs custom calls one after the other, each on one thread. The handler therefore counts out items of work, asks XLA's thread
pool for help, and takes items itself until none is left; so it never waits for a thread that has not begun. A helper that comes
too late finds no work, which is why the state that they share outlives the call: who leaves last frees it.

The layout of the structures follows ``xla/ffi/api/c_api.h``, whose binary interface is stable: fields are only added at the end.
Each is an array of 64-bit words here; an index is a field.
"""

from llvmlite import ir

from lamps_jax.models.llvm.llvm_ir import (
    I32,
    I64,
    POINTER,
    Builder,
    Value,
    builder_of,
    element,
    external,
    local,
    loop,
    smaller,
)

API_VERSION = 3 << 32
"""Major version 0 in the lower half, minor version 3 in the upper: the interface that this file follows."""

EXECUTE = 3
"""The stage of a call that computes."""

FRAME_EXTENSION, FRAME_API, FRAME_CONTEXT, FRAME_STAGE, FRAME_ARGUMENTS, FRAME_RESULTS = 1, 2, 3, 4, 9, 14
EXTENSION_METADATA, METADATA_VERSION = 3, 3
BUFFER_DATA = 3
API_DESTROY_ERROR, API_SCHEDULE, API_NUM_THREADS = 8, 17, 18

NEXT, DONE, USERS, NUM_ITEMS, BUFFERS = range(5)
"""Words of the shared state: counters, then the address of each buffer."""


def emit_handler(work: ir.Function, *, num_arguments: int, count_items: ir.Function) -> ir.Function:
    """A handler of XLA's that calls ``work(arguments..., result, item)`` for each of ``count_items(arguments..., result)`` items.

    Both take the addresses of the buffers; every item must write a part of the result of its own.
    """
    run, leave = _emit_run(work, num_arguments + 1), _emit_leave(work.module)
    task = ir.Function(work.module, ir.FunctionType(ir.VoidType(), [POINTER]), "task")
    builder = builder_of(task)
    builder.call(run, task.args)
    builder.call(leave, task.args)
    builder.ret_void()

    handler = ir.Function(work.module, ir.FunctionType(POINTER, [POINTER]), "handler")
    (frame,) = handler.args
    builder = builder_of(handler)
    extension = _word(builder, frame, FRAME_EXTENSION, POINTER)
    with builder.if_then(builder.icmp_unsigned("!=", extension, POINTER(None))):  # XLA asks which interface the handler follows
        metadata = _word(builder, extension, EXTENSION_METADATA, POINTER)
        builder.store(I64(API_VERSION), element(builder, metadata, I64(METADATA_VERSION), I64))
        builder.ret(POINTER(None))
    with builder.if_then(builder.icmp_unsigned("!=", _word(builder, frame, FRAME_STAGE, I32), I32(EXECUTE))):
        builder.ret(POINTER(None))
    arguments, results = (_word(builder, frame, at, POINTER) for at in (FRAME_ARGUMENTS, FRAME_RESULTS))
    described = [*(_word(builder, arguments, at, POINTER) for at in range(num_arguments)), _word(builder, results, 0, POINTER)]
    buffers = [_word(builder, buffer, BUFFER_DATA, POINTER) for buffer in described]
    num_items = builder.call(count_items, buffers)
    allocate = external(work.module, "malloc", ir.FunctionType(POINTER, [I64]))
    state = builder.call(allocate, [I64(8 * (BUFFERS + len(buffers)))])
    for at, value in enumerate([I64(0), I64(0), I64(1), num_items, *buffers]):
        builder.store(value, element(builder, state, I64(at), I64))
    _emit_helpers(builder, frame, task, state, num_items)
    builder.call(run, [state])
    _emit_wait(builder, state, num_items)
    builder.call(leave, [state])
    builder.ret(POINTER(None))
    return handler


def _emit_run(work: ir.Function, num_buffers: int) -> ir.Function:
    """``run(state)``: works on items until none is left."""
    run = ir.Function(work.module, ir.FunctionType(ir.VoidType(), [POINTER]), "run")
    (state,) = run.args
    builder = builder_of(run)
    num_items = _word(builder, state, NUM_ITEMS, I64)
    buffers = [_word(builder, state, BUFFERS + at, POINTER) for at in range(num_buffers)]
    take, working, idle = (builder.append_basic_block(name) for name in ("take", "working", "idle"))
    builder.branch(take)
    builder.position_at_end(take)
    item = _add(builder, state, NEXT, 1)
    builder.cbranch(builder.icmp_signed("<", item, num_items), working, idle)
    builder.position_at_end(working)
    builder.call(work, [*buffers, item])
    _add(builder, state, DONE, 1)
    builder.branch(take)
    builder.position_at_end(idle)
    builder.ret_void()
    return run


def _emit_leave(module: ir.Module) -> ir.Function:
    """``leave(state)``: who is the last frees it."""
    leave = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER]), "leave")
    (state,) = leave.args
    builder = builder_of(leave)
    with builder.if_then(builder.icmp_signed("==", _add(builder, state, USERS, -1), I64(1))):
        builder.call(external(module, "free", ir.FunctionType(ir.VoidType(), [POINTER])), [state])
    builder.ret_void()
    return leave


def _emit_helpers(builder: Builder, frame: Value, task: ir.Function, state: Value, num_items: Value) -> None:
    """Asks for a helper for every other thread of the pool, but no more than there are items to share."""
    api, context = _word(builder, frame, FRAME_API, POINTER), _word(builder, frame, FRAME_CONTEXT, POINTER)
    num_threads = local(builder, I64)
    builder.store(I64(1), num_threads)  # what is left where there is no pool
    _emit_api_call(builder, api, API_NUM_THREADS, [context, num_threads])
    with loop(builder, I64(1), smaller(builder, builder.load(num_threads, typ=I64), num_items)):
        _add(builder, state, USERS, 1)
        error = _emit_api_call(builder, api, API_SCHEDULE, [context, task, state])
        with builder.if_then(builder.icmp_unsigned("!=", error, POINTER(None))):
            _add(builder, state, USERS, -1)


def _emit_api_call(builder: Builder, api: Value, function: int, fields: list[Value]) -> Value:
    """Calls a function of XLA's with a structure of `fields`; whether it failed is all that is left of an error."""
    error = _emit_raw_call(builder, api, function, fields)
    with builder.if_then(builder.icmp_unsigned("!=", error, POINTER(None))):
        _emit_raw_call(builder, api, API_DESTROY_ERROR, [error])
    return error


def _emit_raw_call(builder: Builder, api: Value, function: int, fields: list[Value]) -> Value:
    structure = local(builder, I64, 2 + len(fields))
    for at, value in enumerate([I64(8 * (2 + len(fields))), POINTER(None), *fields]):
        builder.store(value, element(builder, structure, I64(at), I64))
    return builder.call(_word(builder, api, function, ir.FunctionType(POINTER, [POINTER]).as_pointer()), [structure])


def _emit_wait(builder: Builder, state: Value, num_items: Value) -> None:
    """Lets others run until the items that they have taken are done."""
    give_way = external(builder.module, "sched_yield", ir.FunctionType(I32, []))
    check, wait, done = (builder.append_basic_block(name) for name in ("check", "wait", "done"))
    builder.branch(check)
    builder.position_at_end(check)
    builder.cbranch(builder.icmp_signed("<", _add(builder, state, DONE, 0), num_items), wait, done)
    builder.position_at_end(wait)
    builder.call(give_way, [])
    builder.branch(check)
    builder.position_at_end(done)


def _word(builder: Builder, structure: Value, at: int, kind: ir.Type) -> Value:
    return builder.load(element(builder, structure, I64(at), I64), typ=kind)


def _add(builder: Builder, structure: Value, at: int, amount: int) -> Value:
    """Adds to a counter that several threads use; the value before."""
    return builder.atomic_rmw("add", element(builder, structure, I64(at), I64), I64(amount), "acq_rel")
