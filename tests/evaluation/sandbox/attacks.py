"""Programs that try to pass without being right, or to harm the machine. Each is to be contained and to count as a failure.

An attack that wants something of the machine has an `add` that adds only if it got it: so a wall that is missing shows as tests
that are passed. Words in @ are replaced by what `victim` in conftest.py has planted.
"""

from __future__ import annotations

TESTS = "assert add(1, 2) == 3\nassert add(20, 22) == 42\n"

_IF_WON = "\ndef add(a, b):\n    return a + b if won else None\n"
_WRONG = "\ndef add(a, b):\n    return None\n"


def _tried(code: str) -> str:
    """`code` in a `try`: what it raises is a defence; where it comes through, the attack has won."""
    body = "\n".join(f"    {line}" for line in code.strip().splitlines())
    return f"won = False\ntry:\n{body}\n    won = True\nexcept BaseException:\n    pass\n{_IF_WON}"


# What the machine is to be kept from.
ON_THE_MACHINE = {
    "fork": _tried("""
import os
if os.fork() == 0:
    os._exit(0)
"""),
    "fork_bomb": """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
    "vfork_by_subprocess": _tried("""
import subprocess, sys
subprocess.run([sys.executable, '-c', 'pass'], check=True)
"""),
    "posix_spawn": _tried("""
import os, sys
os.waitpid(os.posix_spawn(sys.executable, [sys.executable, '-c', 'pass'], {}), 0)
"""),
    "a_shell": _tried("""
import os
assert os.system('true') == 0
"""),
    "multiprocessing": _tried("""
import multiprocessing
multiprocessing.get_context('fork').Process(target=int).start()
"""),
    "thread_bomb": """
import threading, time
while True:
    try:
        threading.Thread(target=time.sleep, args=(99,)).start()
    except BaseException:
        pass
""",
    "daemon": _tried("""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(999)
    os._exit(0)
"""),
    "become_another_program": """
import os, sys
os.execv(sys.executable, ['python', '-S', '-c', 'print("passed")'])
""",
    "signal_everybody": """
import os, signal
try:
    os.kill(-1, signal.SIGKILL)
except OSError:
    pass
"""
    + _WRONG,
    "signal_the_parent": """
import os, signal
for pid in (os.getppid(), 0, @HOST_PID@):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
"""
    + _WRONG,
    "signal_the_watcher": _tried("""
import os
os.kill(@HOST_PID@, 0)
"""),
    "signal_the_tester": """
import os, signal
for pid in range(2, 5000):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
"""
    + _WRONG,
    "see_other_processes": _tried("""
import os
def there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
assert any(there(pid) for pid in range(2, 40000))
"""),
    "read_the_home": _tried("""
with open('@SECRET@') as file:
    file.read()
"""),
    "read_the_folder_of_the_caller": _tried("""
with open('@SECRET_HERE@') as file:
    file.read()
"""),
    "read_passwd": _tried("""
with open('/etc/passwd') as file:
    file.read()
"""),
    "list_the_home": _tried("""
import os
os.listdir('@HOME@')
"""),
    "walk_for_the_secret": _tried("""
import os
assert any('autonas-secret' in name for _, _, names in os.walk('/', followlinks=False) for name in names)
"""),
    "relative_way_out": _tried("open('../' * 40 + '@SECRET@'.lstrip('/')).read()"),
    "symlink_out": _tried("""
import os
os.symlink('@SECRET@', 'link')
with open('link') as file:
    file.read()
"""),
    "hard_link_out": _tried("""
import os
os.link('@SECRET@', 'link')
with open('link') as file:
    file.read()
"""),
    "hard_link_of_the_interpreter": _tried("""
import os, sys
os.link(sys.executable, 'link')
"""),
    "leave_a_file": _tried("""
open('@MARK@', 'w').write('here')
open('/tmp/../@MARK@', 'w').write('here')
won = False
assert won
"""),
    "write_into_the_root": _tried("open('/here', 'w').write('x')"),
    "write_into_the_library": _tried("""
import os
open(os.path.join(os.path.dirname(os.__file__), 'zzz.py'), 'w').write('x')
"""),
    "change_the_library": _tried("""
import os
os.chmod(os.__file__, 0o777)
open(os.__file__, 'a').write('#')
"""),
    "write_bytecode": _tried("""
import os
os.mkdir(os.path.join(os.path.dirname(os.__file__), '__pycache__', 'new'))
"""),
    "packages_of_the_interpreter": _tried("""
import os, sys
place = os.path.join(os.path.dirname(os.__file__), 'site-packages')
assert os.listdir(place)
"""),
    "import_autonas": _tried("import autonas"),
    "import_autonas_from_anywhere": _tried("""
import sys
sys.path += ['@SOURCES@', '/', '.']
import autonas
"""),
    "proc_self": _tried("""
import os
assert os.listdir('/proc/self')
"""),
    "proc_environ": _tried("assert open('/proc/1/environ', 'rb').read()"),
    "proc_memory": _tried("open('/proc/1/mem', 'r+b')"),
    "proc_descriptors": _tried("""
import os
assert os.listdir('/proc/self/fd') or os.listdir('/dev/fd')
"""),
    "sysfs_and_devices": _tried("""
import os
assert os.listdir('/sys') or set(os.listdir('/dev')) - {'null'}
"""),
    "mount": _tried("""
import ctypes, os
assert ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', ctypes.c_ulong(0), None) == 0
"""),
    "mount_proc": _tried("""
import ctypes, os
os.mkdir('p')
assert ctypes.CDLL(None).mount(b'proc', b'p', b'proc', ctypes.c_ulong(0), None) == 0
"""),
    "chroot": _tried("""
import os
os.mkdir('r')
os.chroot('r')
"""),
    "chroot_by_ctypes": _tried("""
import ctypes
assert ctypes.CDLL(None).chroot(b'/tmp') == 0
"""),
    "pivot_root": _tried("""
import ctypes
assert ctypes.CDLL(None).syscall(155, b'/tmp', b'/tmp') == 0
"""),
    "remount_the_root": _tried("""
import ctypes
assert ctypes.CDLL(None).mount(None, b'/', None, ctypes.c_ulong(32 | 4096), None) == 0
"""),
    "make_a_device": _tried("""
import os, stat
os.mknod('disk', 0o600 | stat.S_IFBLK, os.makedev(254, 0))
"""),
    "fill_the_disk": _tried("""
for number in range(64):
    with open(f'f{number}', 'wb') as file:
        for _ in range(16):
            file.write(bytes(65536))
"""),
    "one_huge_file": _tried("""
with open('f', 'wb') as file:
    for _ in range(64):
        file.write(bytes(1 << 20))
"""),
    "a_sparse_file": _tried("""
import os
os.truncate(os.open('f', os.O_CREAT | os.O_RDWR), 1 << 40)
"""),
    "become_root": _tried("""
import os
assert os.getuid() != 0
os.setuid(0)
"""),
    "become_somebody": _tried("""
import os
os.setresuid(1, 1, 1)
"""),
    "new_user_namespace": _tried("""
import ctypes
assert ctypes.CDLL(None).unshare(0x10000000) == 0
"""),
    "enter_a_namespace": _tried("""
import ctypes
assert ctypes.CDLL(None).setns(0, 0) == 0
"""),
    "clone_into_a_namespace": _tried("""
import ctypes
assert ctypes.CDLL(None).syscall(56, 0x10000000 | 17, 0, 0, 0, 0) >= 0
"""),
    "clone3": _tried("""
import ctypes
assert ctypes.CDLL(None).syscall(435, bytes(88), 88) >= 0
"""),
    "ptrace": _tried("""
import ctypes
assert ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0
"""),
    "keyring": _tried("""
import ctypes
assert ctypes.CDLL(None).syscall(250, 0, -3, 1) >= 0
"""),
    "bpf": _tried("""
import ctypes
assert ctypes.CDLL(None).syscall(321, 0, bytes(128), 128) >= 0
"""),
    "perf": _tried("""
import ctypes
assert ctypes.CDLL(None).syscall(298, bytes(128), 0, -1, -1, 0) >= 0
"""),
    "userfaultfd": _tried("""
import ctypes
assert ctypes.CDLL(None).syscall(323, 1) >= 0
"""),
    "io_uring": _tried("""
import ctypes
assert ctypes.CDLL(None).syscall(425, 4, bytes(120)) >= 0
"""),
    "shared_memory": _tried("""
import ctypes
assert ctypes.CDLL(None).shmget(0, 4096, 0o1600) >= 0
"""),
    "memory_file": _tried("""
import os
os.memfd_create('x')
"""),
    "the_32_bit_calls": _tried("""
import ctypes
assert ctypes.CDLL(None).syscall(0x40000000 + 39) > 0
"""),
    "raise_the_limits": _tried("""
import resource
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
"""),
    "limits_of_another": _tried("""
import resource
resource.prlimit(2, resource.RLIMIT_CPU, (1, 1))
"""),
    "host_name": _tried("""
import os
assert os.uname().nodename != 'sandbox'
"""),
    "set_the_clock": _tried("""
import time
time.clock_settime(time.CLOCK_REALTIME, 0)
"""),
    "run_ahead": _tried("""
import os
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
"""),
    "tcp": _tried("""
import socket
socket.create_connection(('127.0.0.1', @PORT@), 1).send(b'here')
"""),
    "tcp_by_name": _tried("""
import urllib.request
urllib.request.urlopen('http://localhost:@PORT@', timeout=1)
"""),
    "tcp_by_ctypes": _tried("""
import ctypes, struct
libc = ctypes.CDLL(None)
number = libc.socket(2, 1, 0)
address = struct.pack('<H', 2) + struct.pack('>H', @PORT@) + bytes([127, 0, 0, 1]) + bytes(8)
assert libc.connect(number, address, 16) == 0
"""),
    "udp": _tried("""
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'here', ('127.0.0.1', @UDP@))
"""),
    "listen": _tried("""
import socket
s = socket.socket()
s.bind(('0.0.0.0', 0))
s.listen()
"""),
    "unix_socket": _tried("""
import socket
socket.socket(socket.AF_UNIX).connect('@UNIX@')
"""),
    "abstract_unix_socket": _tried(r"""
import socket
socket.socket(socket.AF_UNIX).connect('\0@ABSTRACT@')
"""),
    "datagram_of_a_pair": _tried(r"""
import socket
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
a.sendto(b'here', '\0@ABSTRACT@')
"""),
    "netlink": _tried("""
import socket
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
"""),
    "packet": _tried("""
import socket
socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
"""),
    "vsock": _tried("""
import socket
socket.socket(40, socket.SOCK_STREAM)
"""),
    "environment": _tried("""
import os
assert any('autonas-secret' in value for value in os.environ.values())
"""),
    "environment_of_libc": _tried("""
import ctypes
libc = ctypes.CDLL(None)
libc.getenv.restype = ctypes.c_char_p
assert libc.getenv(b'AUTONAS_SECRET') or libc.getenv(b'HOME') or libc.getenv(b'PATH')
"""),
    "inherited_descriptors": _tried("""
import os
found = []
for number in range(3, 4096):
    try:
        found.append(os.fstat(number))
    except OSError:
        pass
assert len(found) > 2
"""),
    "standard_input": _tried("""
import sys
assert sys.stdin.read()
"""),
    "the_terminal": _tried("open('/dev/tty')"),
    "memory_list": """
data = []
while True:
    data.append(bytearray(1 << 20))
""",
    "memory_bytes": "data = bytes(1 << 40)",
    "memory_in_a_call": """
def add(a, b):
    return len(b'x' * (1 << 34))
""",
    "memory_caught": _tried("""
data = []
for _ in range(4096):
    data.append(bytearray(1 << 20))
"""),
    "memory_map": _tried("""
import mmap
maps = [mmap.mmap(-1, 1 << 28) for _ in range(16)]
"""),
    "recursion": """
def add(a, b):
    return add(a, b)
""",
    "recursion_without_a_limit": """
import sys
sys.setrecursionlimit(1 << 30)
def add(a, b):
    return add([a], [b])
""",
    "recursion_in_repr": """
class R:
    def __repr__(self):
        return repr(self)
def add(a, b):
    raise ValueError(R())
""",
    "deep_source": "x = " + "(" * 5000 + ")" * 5000,
    "crash_the_interpreter": """
import ctypes
ctypes.string_at(1)
""",
}

# These go on until they are stopped.
ENDLESS = {
    "loop": """
while True:
    pass
""",
    "loop_in_a_call": """
def add(a, b):
    while True:
        pass
""",
    "sleep": """
import time
time.sleep(10**6)
""",
    "catch_everything": """
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
""",
    "ignore_signals": """
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    pass
""",
    "power": "x = 9 ** 9 ** 9",
    "regular_expression": """
import re
re.match(r'(a+)+$', 'a' * 64 + 'b')
""",
    "output_slowly_for_ever": """
import time
while True:
    print('.', flush=True)
    time.sleep(0.01)
""",
    "endless_items": """
import itertools
def add(a, b):
    return itertools.count()
""",
    "stop_itself": """
import os, signal
os.kill(0, signal.SIGSTOP)
while True:
    pass
""",
    "threads_spin": """
import threading
for _ in range(8):
    threading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()
""",
    "never_answer": """
import os, time
for number in range(3, 64):
    try:
        os.set_blocking(number, True)
    except OSError:
        pass
def add(a, b):
    time.sleep(10**6)
""",
    "many_empty_files": """
number = 0
while True:
    number += 1
    print(flush=True) if number % 99 == 0 else None
    try:
        open(f'f{number}', 'w').close()
    except OSError:
        pass
""",
}

# What wants to deceive whoever decides.
ON_THE_JUDGE = {
    "exit_0": """
import os
os._exit(0)
""",
    "exit_0_in_a_call": """
import os
def add(a, b):
    os._exit(0)
""",
    "sys_exit": """
import sys
sys.exit(0)
""",
    "sys_exit_in_a_call": """
import sys
def add(a, b):
    sys.exit(0)
""",
    "system_exit": "raise SystemExit(0)",
    "keyboard_interrupt": "raise KeyboardInterrupt",
    "keyboard_interrupt_in_a_call": """
def add(a, b):
    raise KeyboardInterrupt
""",
    "generator_exit_in_a_call": """
def add(a, b):
    raise GeneratorExit
""",
    "base_exception_of_its_own": """
class E(BaseException):
    pass
def add(a, b):
    raise E
""",
    "print_passed": """
print('passed')
print({'status': 'passed'})
"""
    + _WRONG,
    "say_passed_and_leave": """
import os
os.write(1, b'passed')
os.write(2, b'passed')
os._exit(0)
""",
    "builtins": """
import builtins
builtins.AssertionError = type('A', (Exception,), {})
builtins.isinstance = lambda *a: True
builtins.len = lambda *a: 3
builtins.__build_class__ = None
"""
    + _WRONG,
    "shadow_builtins": """
def tuple(*a):
    return 0
def abs(x):
    return 0
def sum(*a):
    return 3
True_ = 1
"""
    + _WRONG,
    "sys_modules": """
import sys
for name in list(sys.modules):
    sys.modules[name] = None
"""
    + _WRONG,
    "own_files_of_the_judge": """
import sys
for name, module in list(sys.modules.items()):
    if name.startswith('inside'):
        for word in list(vars(module)):
            setattr(module, word, lambda *a, **k: True)
"""
    + _WRONG,
    "unittest": """
import unittest
unittest.TestCase.assertEqual = lambda *a: None
unittest.TestCase.fail = lambda *a: None
"""
    + _WRONG,
    "always_equal": """
class E:
    def __eq__(self, other):
        return True
    def __ne__(self, other):
        return False
    __hash__ = None
def add(a, b):
    return E()
""",
    "always_equal_inside_a_list": """
class E(int):
    def __eq__(self, other):
        return True
def add(a, b):
    return E(99)
""",
    "lying_str": """
class S(str):
    def __eq__(self, other):
        return True
def add(a, b):
    return S('3')
""",
    "lying_metaclass": """
class M(type):
    def __eq__(self, other):
        return True
    __hash__ = type.__hash__
class E(metaclass=M):
    pass
def add(a, b):
    return E
""",
    "lying_class_attribute": """
class E:
    __class__ = int
    def __eq__(self, other):
        return True
    def __int__(self):
        return 3
def add(a, b):
    return E()
""",
    "reflected_operators": """
class E:
    def __getattr__(self, name):
        return lambda *a: True
    __radd__ = __rsub__ = __sub__ = __lt__ = __gt__ = __eq__ = lambda self, other: True
def add(a, b):
    return E()
""",
    "an_exception_as_value": """
class E(Exception):
    def __eq__(self, other):
        return True
def add(a, b):
    return E()
""",
    "not_implemented": """
def add(a, b):
    return NotImplemented
""",
    "a_builtin_function": """
def add(a, b):
    return max
""",
    "define_check": """
def check(candidate):
    pass
candidate = lambda a, b: a + b
__held__ = lambda *a: None
"""
    + _WRONG,
    "module_getattr": """
def __getattr__(name):
    return lambda a, b: a + b
""",
    "no_add": "pass",
    "add_is_no_function": "add = 3",
    "frames": """
import sys
def add(a, b):
    frame = sys._getframe()
    while frame:
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            if isinstance(value, str) and 'assert' + ' add' in value:
                return a + b
        frame = frame.f_back
""",
    "garbage": """
import gc
def add(a, b):
    for found in gc.get_objects():
        if isinstance(found, dict):
            for value in list(found.values()):
                if isinstance(value, (str, bytes)) and 'add(' + '20' in str(value):
                    return a + b
""",
    "trace": """
import sys
sys.settrace(lambda *a: None)
sys.setprofile(lambda *a: None)
import threading
threading.settrace(lambda *a: None)
"""
    + _WRONG,
    "audit": """
import sys
def hook(*a):
    raise SystemExit(0)
sys.addaudithook(hook)
"""
    + _WRONG,
    "forge_on_every_descriptor": r"""
import os, struct
word = b'd\x02\0\0\0s\x06\0\0\0statuss\x06\0\0\0passeds\x07\0\0\0messages\0\0\0\0'
for number in range(3, 64):
    try:
        os.write(number, b'+' + struct.pack('<I', len(word)) + word)
    except OSError:
        pass
"""
    + _WRONG,
    "forge_answers": """
import os, struct
from inside import values
for number in range(3, 64):
    for count in range(1, 9):
        word = values.Encoder(999, str).encode(('value', count, 'passed'))
        try:
            os.write(number, struct.pack('<I', len(word)) + word)
        except OSError:
            pass
"""
    + _WRONG,
    "forge_huge_length": r"""
import os
for number in range(3, 64):
    try:
        os.write(number, b'\xff' * 8)
    except OSError:
        pass
"""
    + _WRONG,
    "forge_random_bytes": """
import os, random
random.seed(1)
for number in range(3, 64):
    try:
        os.write(number, random.randbytes(4096))
    except OSError:
        pass
"""
    + _WRONG,
    "close_everything": """
import os
os.closerange(0, 4096)
"""
    + _WRONG,
    "swap_descriptors": """
import os
for number in range(3, 16):
    try:
        os.dup2(1, number)
    except OSError:
        pass
"""
    + _WRONG,
    "replace_the_streams": """
import sys, io
sys.stdout = sys.stderr = sys.__stdout__ = io.StringIO()
sys.stdin = None
"""
    + _WRONG,
    "exit_functions": """
import atexit, os
atexit.register(print, 'passed')
atexit.register(os._exit, 0)
raise ValueError
""",
    "threads_after_the_end": """
import threading, time, os
def late():
    time.sleep(0.05)
    os._exit(0)
threading.Thread(target=late).start()
"""
    + _WRONG,
    "change_the_arguments": """
def add(a, b):
    import gc
    for found in gc.get_objects():
        if type(found) is list and found == [a, b]:
            found.clear()
    return None
""",
    "huge_value": """
def add(a, b):
    return 'x' * 30_000_000
""",
    "huge_number": """
def add(a, b):
    return 1 << 400_000_000
""",
    "value_that_doubles": """
def add(a, b):
    value = []
    for _ in range(60):
        value = [value, value]
    return value
""",
    "deep_value": """
def add(a, b):
    value = []
    for _ in range(10**5):
        value = [value]
    return value
""",
    "value_of_itself": """
def add(a, b):
    value = {}
    value[0] = [value]
    return value
""",
    "endless_output": """
while True:
    print('x' * 1000)
""",
    "endless_errors": """
import sys
while True:
    sys.stderr.write('x' * 1000)
""",
    "binary_output": """
import os
while True:
    os.write(1, bytes(range(256)) * 64)
""",
    "terminal_codes": r"""
raise ValueError('\x1b[2J\x1b]0;owned\x07\n\rpassed')
""",
    "syntax_error": """
def add(a, b:
    return a + b
""",
    "null_bytes": "def add(a, b):\n    return a + b\n\0",
    "lone_surrogate": "x = '\ud800'" + _WRONG,
    "ten_megabytes": "# " + "x" * 10_000_000 + "\ndef add(a, b):\n    return a + b",
    "many_nested_blocks": "\n".join("    " * depth + "if True:" for depth in range(120)),
    "pretend_to_be_gone": """
import os
def add(a, b):
    os.closerange(3, 64)
    return a + b
""",
    "right_once": """
calls = []
def add(a, b):
    calls.append(1)
    return a + b if len(calls) == 1 else 0
""",
    "read_ahead": """
import os, time
def add(a, b):
    for number in range(3, 64):
        try:
            os.set_blocking(number, False)
            os.read(number, 4096)
        except OSError:
            pass
    return 0
""",
    "exception_group": """
def add(a, b):
    raise BaseExceptionGroup('x', [KeyboardInterrupt()])
""",
    "stop_iteration": """
def add(a, b):
    raise StopIteration
""",
    "weird_exception_name": r"""
E = type('A\nB\x1b', (Exception,), {'__str__': lambda s: 1 / 0})
def add(a, b):
    raise E(E())
""",
}
