//! A window with a bar in it, drawn whenever the compositor wants a frame.

use std::error::Error;
use std::io;

use smithay_client_toolkit::compositor::{CompositorHandler, CompositorState, FrameCallbackData};
use smithay_client_toolkit::output::{OutputHandler, OutputState};
use smithay_client_toolkit::reexports::calloop::LoopHandle;
use smithay_client_toolkit::reexports::calloop_wayland_source::WaylandSource;
use smithay_client_toolkit::reexports::client::globals::registry_queue_init;
use smithay_client_toolkit::reexports::client::protocol::wl_output::{Transform, WlOutput};
use smithay_client_toolkit::reexports::client::protocol::wl_shm::Format;
use smithay_client_toolkit::reexports::client::protocol::wl_surface::WlSurface;
use smithay_client_toolkit::reexports::client::{Connection, QueueHandle};
use smithay_client_toolkit::registry::{ProvidesRegistryState, RegistryState};
use smithay_client_toolkit::shell::WaylandSurface;
use smithay_client_toolkit::shell::xdg::XdgShell;
use smithay_client_toolkit::shell::xdg::window::{
    Window as XdgWindow, WindowConfigure, WindowDecorations, WindowHandler,
};
use smithay_client_toolkit::shm::slot::SlotPool;
use smithay_client_toolkit::shm::{Shm, ShmHandler};
use smithay_client_toolkit::{delegate_dispatch2, delegate_registry, registry_handlers};

/// The window, which is what calloop's callbacks share.
pub(crate) struct Window {
    registry: RegistryState,
    outputs: OutputState,
    shm: Shm,
    pool: SlotPool,
    window: XdgWindow,
    size: (u32, u32),
    /// How long the bar is; it begins anew when it is full.
    pub(crate) level: u64,
    pub(crate) closed: bool,
    pub(crate) failed: Option<io::Error>,
}

/// As they lie in memory: blue, green, red, and whether they cover what is behind.
const BACKGROUND: [u8; 4] = [0x40, 0x28, 0x18, 0xff];
const BAR: [u8; 4] = [0x71, 0xcc, 0x2e, 0xff];

impl Window {
    /// Connects to the compositor that the environment names, and asks it for a window.
    pub(crate) fn open(handle: &LoopHandle<'static, Self>) -> Result<Self, Box<dyn Error>> {
        let connection = Connection::connect_to_env()?;
        let (globals, events) = registry_queue_init(&connection)?;
        let queue = events.handle();
        WaylandSource::new(connection, events).insert(handle.clone())?;
        let compositor = CompositorState::bind(&globals, &queue)?;
        let shm = Shm::bind(&globals, &queue)?;
        let shell = XdgShell::bind(&globals, &queue)?;
        let surface = compositor.create_surface(&queue);
        let window = shell.create_window(surface, WindowDecorations::RequestServer, &queue);
        window.set_title("lodger");
        window.set_app_id("lodger.example");
        // Nothing is attached yet: the compositor answers with the size.
        window.commit();
        Ok(Self {
            registry: RegistryState::new(&globals),
            outputs: OutputState::new(&globals, &queue),
            pool: SlotPool::new(4 << 20, &shm)?,
            shm,
            window,
            size: (256, 256),
            level: 1,
            closed: false,
            failed: None,
        })
    }

    fn draw(&mut self, queue: &QueueHandle<Self>) {
        if let Err(error) = self.try_draw(queue) {
            self.failed = Some(io::Error::other(error.to_string()));
        }
    }

    fn try_draw(&mut self, queue: &QueueHandle<Self>) -> Result<(), Box<dyn Error>> {
        let (width, height) = self.size;
        let (wide, tall) = (i32::try_from(width)?, i32::try_from(height)?);
        let (buffer, canvas) = self.pool.create_buffer(wide, tall, wide * 4, Format::Argb8888)?;
        let bar = u32::try_from(self.level % u64::from(width.max(1)))?.max(1);
        let middle = height / 3..height * 2 / 3;
        for (pixel, at) in canvas.chunks_exact_mut(4).zip(0_u32..) {
            let inside = at % width < bar && middle.contains(&(at / width));
            pixel.copy_from_slice(if inside { &BAR } else { &BACKGROUND });
        }
        let surface = self.window.wl_surface();
        surface.damage_buffer(0, 0, wide, tall);
        surface.frame(queue, FrameCallbackData(surface.clone()));
        buffer.attach_to(surface)?;
        self.window.commit();
        Ok(())
    }
}

impl WindowHandler for Window {
    fn request_close(&mut self, _: &Connection, _: &QueueHandle<Self>, _: &XdgWindow) {
        self.closed = true;
    }

    fn configure(
        &mut self,
        _: &Connection,
        queue: &QueueHandle<Self>,
        _: &XdgWindow,
        configure: WindowConfigure,
        _serial: u32,
    ) {
        let (width, height) = configure.new_size;
        self.size = (width.map_or(256, Into::into), height.map_or(256, Into::into));
        self.draw(queue);
    }
}

impl CompositorHandler for Window {
    fn frame(&mut self, _: &Connection, queue: &QueueHandle<Self>, _: &WlSurface, _: u32) {
        self.draw(queue);
    }

    fn scale_factor_changed(
        &mut self,
        _: &Connection,
        _: &QueueHandle<Self>,
        _: &WlSurface,
        _: i32,
    ) {
    }

    fn transform_changed(
        &mut self,
        _: &Connection,
        _: &QueueHandle<Self>,
        _: &WlSurface,
        _: Transform,
    ) {
    }

    fn surface_enter(
        &mut self,
        _: &Connection,
        _: &QueueHandle<Self>,
        _: &WlSurface,
        _: &WlOutput,
    ) {
    }

    fn surface_leave(
        &mut self,
        _: &Connection,
        _: &QueueHandle<Self>,
        _: &WlSurface,
        _: &WlOutput,
    ) {
    }
}

impl OutputHandler for Window {
    fn output_state(&mut self) -> &mut OutputState {
        &mut self.outputs
    }

    fn new_output(&mut self, _: &Connection, _: &QueueHandle<Self>, _: WlOutput) {}
    fn update_output(&mut self, _: &Connection, _: &QueueHandle<Self>, _: WlOutput) {}
    fn output_destroyed(&mut self, _: &Connection, _: &QueueHandle<Self>, _: WlOutput) {}
}

impl ShmHandler for Window {
    fn shm_state(&mut self) -> &mut Shm {
        &mut self.shm
    }
}

impl ProvidesRegistryState for Window {
    fn registry(&mut self) -> &mut RegistryState {
        &mut self.registry
    }

    registry_handlers![OutputState];
}

delegate_registry!(Window);
delegate_dispatch2!(Window);
